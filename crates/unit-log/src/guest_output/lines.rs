//! What guests print, cut into lines.

use std::fmt::Write as _;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use super::printing::{Output, Printing};
use super::speaker::Speaker;
use crate::line_owner::{Owner, Stream};
use crate::text::Escaped;

/// Bytes of a line that are written at once; a longer one goes on as another.
const MAX_LINE: usize = 8 * 1024;

/// Cuts what a guest writes to one of its streams into lines.
pub struct GuestLines {
    printing: Arc<Printing>,
    speaker: Speaker,
    owner: Owner,
    /// The beginning of a line, at most [`MAX_LINE`] bytes.
    partial: Vec<u8>,
    /// Whether the bytes before `partial` were written and belong to the same line.
    continues: bool,
}

impl GuestLines {
    /// One stream of one guest, which has printed nothing yet.
    #[must_use]
    pub fn new(printing: Arc<Printing>, speaker: Speaker, stream: Stream) -> Self {
        let request = speaker.request();
        Self {
            printing,
            speaker,
            owner: Owner { request, stream },
            partial: Vec::new(),
            continues: false,
        }
    }

    /// Takes what the guest has written. Never fails, and never waits.
    pub fn push(&mut self, now: Instant, bytes: &[u8]) {
        self.owner.request = self.speaker.request();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
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

    /// Writes a line, or [`MAX_LINE`] bytes of one that goes on.
    fn emit(&mut self, now: Instant, bytes: &[u8]) {
        let continues = mem::replace(&mut self.continues, false);
        if !self.printing.admits(now, bytes.len()) {
            self.printing.losses.add();
            return;
        }
        match self.printing.output(self.owner.stream) {
            Output::Log => self.log(bytes),
            Output::File(file) => file.append(self.owner, continues, bytes),
        }
        self.continues = !bytes.ends_with(b"\n");
    }

    fn log(&self, bytes: &[u8]) {
        let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        tracing::info!(
            application = &*self.printing.application,
            request = %self.owner.request,
            "{}: {}",
            self.owner.stream.name(),
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

/// The line without anything that a terminal or a log reader would act on: control characters
/// are escaped, bytes that are no UTF-8 become U+FFFD.
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
    struct Application {
        printing: Arc<Printing>,
        _folder: TempDir,
        path: PathBuf,
    }

    impl Application {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("out");
            let file = OutputFiles::default().open(&path).unwrap();
            let (stdout, stderr) = (Output::File(file.clone()), Output::File(file));
            Self {
                printing: Printing::new(&"a".into(), stdout, stderr),
                _folder: folder,
                path,
            }
        }

        fn guest(&self) -> GuestLines {
            let printing = Arc::clone(&self.printing);
            let speaker = Speaker::new(RequestId::next(), false);
            GuestLines::new(printing, speaker, Stream::Stdout)
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
    fn a_line_without_end_is_written_as_it_comes_and_never_kept() {
        let application = Application::new();
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
    fn a_file_has_the_guests_bytes_as_they_are() {
        let application = Application::new();
        let mut guest = application.guest();
        guest.push(Instant::now(), b"\x1b[31m\r\n\n\xff\0");
        guest.push(Instant::now(), b"\xfe\n");
        assert_eq!(application.written(), b"\x1b[31m\r\n\n\xff\0\xfe\n");
    }

    #[test]
    fn lines_of_guests_at_the_same_time_do_not_mix() {
        let application = Application::new();
        let (mut one, mut other) = (application.guest(), application.guest());
        let now = Instant::now();
        one.push(now, b"on");
        other.push(now, b"other\noth");
        one.push(now, b"e\n");
        drop(other);
        assert_eq!(application.written(), b"other\none\noth\n");
    }

    #[test]
    fn a_line_that_is_too_long_to_be_kept_ends_where_another_guests_begins() {
        let application = Application::new();
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
    fn what_is_too_much_is_lost_by_whole_lines_for_all_guests_together() {
        let application = Application::new();
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
    fn a_line_of_which_a_piece_is_lost_is_not_joined_over_the_gap() {
        let application = Application::new();
        let mut guest = application.guest();
        let now = Instant::now();
        guest.push(now, &[b'x'; MAX_LINE + 1]);
        while application.printing.admits(now, 0) {}
        guest.push(now, &[b'y'; MAX_LINE]);
        let later = now + std::time::Duration::from_secs(1);
        guest.push(later, b"z\n");
        let mut written = vec![b'x'; MAX_LINE];
        written.extend(b"\nyz\n");
        assert_eq!(application.written(), written);
    }
}
