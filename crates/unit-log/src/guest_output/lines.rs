//! Cuts what a guest prints into lines, and passes each to the log or to its application's file.

use std::fmt::Write as _;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use super::application::{ApplicationOutput, Output};
use super::current_request::CurrentRequest;
use crate::line_owner::{LineOwner, StandardStream};
use crate::text::Escaped;

/// A longer line is written in pieces of this many bytes. In the log each piece is a line.
const MAX_LINE: usize = 8 * 1024;

/// One stream of one guest. A last line without line feed is written when this is dropped.
pub struct GuestLines {
    output: Arc<ApplicationOutput>,
    current: CurrentRequest,
    owner: LineOwner,
    /// The beginning of a line, at most [`MAX_LINE`] bytes.
    partial: Vec<u8>,
    /// Whether the bytes before `partial` belong to the same line and have been written.
    continues: bool,
    /// Whether the last bytes were within a line. Not so when only `partial` is empty: a piece may have been lost.
    in_line: bool,
}

impl GuestLines {
    /// For lines of `stream`, which belong to the request that is current when they begin.
    #[must_use]
    pub fn new(
        output: Arc<ApplicationOutput>,
        current: CurrentRequest,
        stream: StandardStream,
    ) -> Self {
        let request = current.id();
        Self {
            output,
            current,
            owner: LineOwner { request, stream },
            partial: Vec::new(),
            continues: false,
            in_line: false,
        }
    }

    /// Passes on what the guest has written. Never fails and never blocks: what is too much is discarded, and
    /// counted.
    pub fn push(&mut self, now: Instant, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.in_line {
                self.owner.request = self.current.id();
            }
            self.in_line = !piece.ends_with(b"\n");
            match piece.strip_suffix(b"\n") {
                // Most lines come in one piece, and need not be copied.
                Some(line) if self.partial.is_empty() && line.len() <= MAX_LINE => {
                    self.emit(now, piece);
                }
                Some(line) => {
                    self.fill(now, line);
                    self.finish(now);
                }
                None => self.fill(now, piece),
            }
        }
    }

    fn fill(&mut self, now: Instant, mut bytes: &[u8]) {
        while self.partial.len() + bytes.len() > MAX_LINE {
            let (first, later) = bytes.split_at(MAX_LINE - self.partial.len());
            self.partial.extend_from_slice(first);
            self.emit_partial(now);
            bytes = later;
        }
        self.partial.extend_from_slice(bytes);
    }

    fn finish(&mut self, now: Instant) {
        self.partial.push(b'\n');
        self.emit_partial(now);
    }

    fn emit_partial(&mut self, now: Instant) {
        let mut partial = mem::take(&mut self.partial);
        self.emit(now, &partial);
        partial.clear();
        self.partial = partial;
    }

    /// Writes a line, or [`MAX_LINE`] bytes of one that continues.
    fn emit(&mut self, now: Instant, bytes: &[u8]) {
        let continues = mem::replace(&mut self.continues, false);
        if !self.output.admits(now, bytes.len()) {
            self.output.losses.add(1);
            return;
        }
        match self.output.output(self.owner.stream) {
            Output::Log => self.log(bytes),
            Output::File(file) => file.append(self.owner, continues, bytes),
        }
        self.continues = !bytes.ends_with(b"\n");
    }

    fn log(&self, bytes: &[u8]) {
        let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        tracing::info!(
            application = &*self.output.application,
            request = %self.owner.request,
            stream = self.owner.stream.name(),
            "{}",
            printable(line)
        );
    }
}

impl Drop for GuestLines {
    fn drop(&mut self) {
        if !self.partial.is_empty() {
            self.finish(Instant::now());
        }
    }
}

/// The line as text, escaped; bytes that are not UTF-8 become U+FFFD.
fn printable(line: &[u8]) -> String {
    let mut text = String::with_capacity(line.len());
    // Writing to a string cannot fail.
    let _ = Escaped(&mut text).write_str(&String::from_utf8_lossy(line));
    text
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;
    use crate::{OutputFiles, RequestId};

    /// An application whose guests print to a file.
    struct PrintingApplication {
        output: Arc<ApplicationOutput>,
        _folder: TempDir,
        path: PathBuf,
    }

    impl PrintingApplication {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("out");
            let file = OutputFiles::default().open(&path).unwrap();
            let (stdout, stderr) = (Output::File(file.clone()), Output::File(file));
            Self {
                output: ApplicationOutput::new(&"a".into(), stdout, stderr),
                _folder: folder,
                path,
            }
        }

        fn guest(&self) -> GuestLines {
            let output = Arc::clone(&self.output);
            let current = CurrentRequest::new(RequestId::next(), false);
            GuestLines::new(output, current, StandardStream::Stdout)
        }

        fn written(&self) -> Vec<u8> {
            fs::read(&self.path).unwrap()
        }
    }

    #[test]
    fn control_characters_cannot_forge_or_colour_a_log_line() {
        assert_eq!(
            printable(b"a\x1b[31mb\r\x07\tc"),
            "a\\u{1b}[31mb\\r\\u{7}\tc"
        );
        assert_eq!(printable(b"\xff\xfe ok"), "\u{fffd}\u{fffd} ok");
        assert_eq!(
            printable("é\u{2028}\u{202e}".as_bytes()),
            "é\\u{2028}\\u{202e}"
        );
    }

    #[test]
    fn an_endless_line_is_written_in_pieces_and_never_kept() {
        let application = PrintingApplication::new();
        let mut guest = application.guest();
        let now = Instant::now();
        for _ in 0..3 * MAX_LINE + 5 {
            guest.push(now, b"x");
            assert!(guest.partial.len() <= MAX_LINE);
        }
        assert_eq!(guest.partial.len(), 5);
        guest.push(now, &vec![b'x'; 3 * MAX_LINE]);
        assert_eq!(guest.partial.len(), 5);
        assert_eq!(application.written(), vec![b'x'; 6 * MAX_LINE]);
        guest.push(now, b"\n");
        assert!(guest.partial.is_empty());
        let mut line = vec![b'x'; 6 * MAX_LINE + 5];
        line.push(b'\n');
        assert_eq!(application.written(), line);
    }

    #[test]
    fn output_to_a_file_is_not_escaped() {
        let application = PrintingApplication::new();
        let mut guest = application.guest();
        guest.push(Instant::now(), b"\x1b[31m\r\n\n\xff\0");
        guest.push(Instant::now(), b"\xfe\n");
        assert_eq!(application.written(), b"\x1b[31m\r\n\n\xff\0\xfe\n");
    }

    #[test]
    fn lines_of_guests_at_the_same_time_do_not_mix() {
        let application = PrintingApplication::new();
        let (mut one, mut other) = (application.guest(), application.guest());
        let now = Instant::now();
        one.push(now, b"on");
        other.push(now, b"other\noth");
        one.push(now, b"e\n");
        drop(other);
        assert_eq!(application.written(), b"other\none\noth\n");
    }

    #[test]
    fn a_long_line_is_ended_where_another_guests_line_begins() {
        let application = PrintingApplication::new();
        let (mut one, mut other) = (application.guest(), application.guest());
        let now = Instant::now();
        one.push(now, &[b'x'; MAX_LINE + 1]);
        other.push(now, b"other\n");
        one.push(now, b"y\n");
        let mut written = vec![b'x'; MAX_LINE];
        written.extend(b"\nother\nxy\n");
        assert_eq!(application.written(), written);
    }

    #[test]
    fn the_rate_limit_is_shared_by_an_applications_guests_and_discards_whole_lines() {
        let application = PrintingApplication::new();
        let (mut one, mut other) = (application.guest(), application.guest());
        let now = Instant::now();
        let mut line = vec![b'x'; 1000];
        line.push(b'\n');
        for _ in 0..5000 {
            one.push(now, &line);
        }
        let written = application.written();
        assert!(written.chunks(1001).all(|chunk| chunk == line));
        let burst = 2 * super::super::rate::BYTES_PER_SECOND as usize;
        assert!(written.len() < burst && written.len() > burst / 2);
        other.push(now, &line);
        assert_eq!(application.written().len(), written.len());
        let later = now + std::time::Duration::from_secs(1);
        other.push(later, &line);
        assert_eq!(application.written().len(), written.len() + line.len());
    }

    #[test]
    fn a_line_belongs_to_the_request_in_which_it_began() {
        let application = PrintingApplication::new();
        let ids = [RequestId::next(), RequestId::next()];
        let current = CurrentRequest::new(ids[0], true);
        let mut lines = GuestLines::new(
            Arc::clone(&application.output),
            current.clone(),
            StandardStream::Stdout,
        );
        let now = Instant::now();
        lines.push(now, &[b'x'; MAX_LINE + 1]);
        current.set(ids[1]);
        lines.push(now, b"y");
        assert_eq!(lines.owner.request, ids[0]);
        lines.push(now, b"\nz");
        assert_eq!(lines.owner.request, ids[1]);
    }

    #[test]
    fn a_line_of_which_a_piece_is_lost_is_not_joined_over_the_gap() {
        let application = PrintingApplication::new();
        let mut guest = application.guest();
        let now = Instant::now();
        guest.push(now, &[b'x'; MAX_LINE + 1]);
        while application.output.admits(now, 0) {}
        guest.push(now, &[b'y'; MAX_LINE]);
        let later = now + std::time::Duration::from_secs(1);
        guest.push(later, b"z\n");
        let mut written = vec![b'x'; MAX_LINE];
        written.extend(b"\nyz\n");
        assert_eq!(application.written(), written);
    }
}
