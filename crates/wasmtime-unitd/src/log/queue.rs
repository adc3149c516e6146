//! The write queue of the log. A separate thread writes the lines, so that no other thread ever waits for a disk or for
//! the reader of a pipe.
//!
//! Unlike `unit_log`'s queue of an output file, it works without a runtime, waits for a slow pipe without limit, and
//! puts the report of its own losses into the log directly: logging them would add to the queue.

use std::io::{self, Write};
use std::mem;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Bytes that may wait to be written; lines beyond that are discarded, and counted.
pub(super) const MAX_WAITING: usize = 4 << 20;

#[derive(Default)]
pub(super) struct LineQueue {
    state: Mutex<LineQueueState>,
    /// Signalled when lines have been added to an empty queue.
    filled: Condvar,
    /// Signalled when all lines have been written.
    emptied: Condvar,
}

#[derive(Default)]
struct LineQueueState {
    waiting: Vec<u8>,
    /// Lines that were discarded since the queue was full.
    dropped: u64,
    is_writing: bool,
}

impl LineQueue {
    /// Adds a line, or discards it if the queue is full. Never waits for the file.
    pub(super) fn add(&self, line: &[u8]) {
        let mut state = self.state.lock();
        if state.waiting.len() + line.len() > MAX_WAITING {
            state.dropped += 1;
            return;
        }
        let was_empty = state.waiting.is_empty();
        state.waiting.extend_from_slice(line);
        drop(state);
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// Waits until all lines are written, for `limit` at most.
    pub(super) fn flush(&self, limit: Duration) {
        let mut state = self.state.lock();
        let is_busy = |state: &mut LineQueueState| !state.waiting.is_empty() || state.is_writing;
        self.emptied.wait_while_for(&mut state, is_busy, limit);
    }

    /// Writes lines until the process exits. `file` is called for each write, so that the log can be reopened.
    /// `warning` formats a line about the log itself.
    pub(super) fn write_all<W: Write>(
        &self,
        file: impl Fn() -> W,
        warning: impl Fn(&str) -> String,
    ) {
        let mut output = LogWriter::default();
        loop {
            let (lines, dropped) = self.take();
            let mut file = file();
            output.write(&lines, &mut file, &warning);
            if dropped > 0 {
                let text = format!(
                    "{dropped} lines of the log discarded: write queue full ({} MiB)",
                    MAX_WAITING >> 20
                );
                output.write(warning(&text).as_bytes(), &mut file, &warning);
            }
            self.done();
        }
    }

    fn take(&self) -> (Vec<u8>, u64) {
        let is_empty = |state: &mut LineQueueState| state.waiting.is_empty();
        let mut state = self.state.lock();
        self.filled.wait_while(&mut state, is_empty);
        state.is_writing = true;
        (mem::take(&mut state.waiting), mem::take(&mut state.dropped))
    }

    fn done(&self) {
        let mut state = self.state.lock();
        state.is_writing = false;
        let is_empty = state.waiting.is_empty();
        drop(state);
        if is_empty {
            self.emptied.notify_all();
        }
    }
}

/// Writes to the file, and keeps account of what was lost.
#[derive(Default)]
struct LogWriter {
    /// The file ends within a line, whose remainder was lost.
    is_torn: bool,
    /// Lines that could not be written, and the last error.
    lost: Option<(u64, io::Error)>,
}

impl LogWriter {
    fn write(&mut self, lines: &[u8], file: &mut impl Write, warning: &impl Fn(&str) -> String) {
        let mut before = String::new();
        if self.is_torn {
            before.push('\n');
        }
        if let Some((lost, error)) = &self.lost {
            let text = format!("{lost} lines of the log discarded: write failed: {error}");
            before.push_str(&warning(&text));
        }
        if !before.is_empty() {
            if let Err((_, error)) = try_write(before.as_bytes(), file) {
                return self.lose(lines, error);
            }
            (self.is_torn, self.lost) = (false, None);
        }
        if let Err((written, error)) = try_write(lines, file) {
            self.is_torn = written > 0 && lines[written - 1] != b'\n';
            self.lose(&lines[written..], error);
        }
    }

    fn lose(&mut self, lines: &[u8], error: io::Error) {
        let more = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
        let before = self.lost.take().map_or(0, |(lines, _)| lines);
        self.lost = Some((before + more, error));
    }
}

/// Writes all, and waits for a full pipe without limit: another process may have made it non-blocking. An error has the
/// number of bytes that were written before it.
fn try_write(bytes: &[u8], file: &mut impl Write) -> Result<(), (usize, io::Error)> {
    unit_log::write_all(file, bytes, |_| true)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::thread;
    use std::time::Instant;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(60);

    fn warning(text: &str) -> String {
        format!("[warn] {text}\n")
    }

    /// A file that a function writes.
    struct Fake<F>(F);

    impl<F: FnMut(&[u8]) -> io::Result<usize>> Write for Fake<F> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            (self.0)(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A queue whose file takes what it is allowed to, one write at a time.
    fn slow() -> (Arc<LineQueue>, mpsc::Sender<()>, mpsc::Receiver<Vec<u8>>) {
        let queue = Arc::new(LineQueue::default());
        let (allow, allowed) = mpsc::channel();
        let (sink, written) = mpsc::channel();
        let writer = Arc::clone(&queue);
        thread::spawn(move || {
            let file = || {
                Fake(|bytes: &[u8]| {
                    // The test is over when its ends are gone.
                    let over = || io::Error::other("the test is over");
                    allowed.recv().map_err(|_| over())?;
                    sink.send(bytes.to_vec()).map_err(|_| over())?;
                    Ok(bytes.len())
                })
            };
            writer.write_all(file, warning);
        });
        (queue, allow, written)
    }

    #[test]
    fn a_log_that_stalls_blocks_no_thread_and_drops_are_counted() {
        let (queue, allow, written) = slow();
        queue.add(b"first\n");
        allow.send(()).unwrap();
        assert_eq!(written.recv_timeout(DEADLINE).unwrap(), b"first\n");
        queue.flush(DEADLINE);
        let line = [[b'x'; 1023].as_slice(), b"\n"].concat();
        for _ in 0..3 * MAX_WAITING / line.len() {
            queue.add(&line);
        }
        let begun = Instant::now();
        queue.flush(Duration::from_millis(50));
        assert!(begun.elapsed() >= Duration::from_millis(50));
        let mut text = Vec::new();
        while !text.ends_with(b" MiB)\n") {
            allow.send(()).unwrap();
            text.extend(written.recv_timeout(DEADLINE).unwrap());
        }
        queue.flush(DEADLINE);
        let lines = text.iter().filter(|byte| **byte == b'\n').count() - 1;
        assert!((4096..=2 * 4096).contains(&lines), "{lines}");
        let text = String::from_utf8(text).unwrap();
        let dropped = 3 * 4096 - lines;
        let last = text.lines().last().unwrap();
        assert!(
            last.starts_with(&format!("[warn] {dropped} lines of the log discarded")),
            "{last}"
        );
    }

    #[test]
    fn what_cannot_be_written_to_the_log_is_counted_once_it_can() {
        let mut output = LogWriter::default();
        let mut taken = Vec::new();
        let full = || Err(io::Error::from_raw_os_error(28));
        output.write(b"one\ntwo\n", &mut Fake(|_: &[u8]| full()), &warning);
        output.write(b"three\n", &mut Fake(|_: &[u8]| full()), &warning);
        let mut room = 3;
        let nearly_full = |bytes: &[u8]| match bytes.len().min(mem::take(&mut room)) {
            0 => full(),
            some => {
                taken.extend_from_slice(&bytes[..some]);
                Ok(some)
            }
        };
        let mut torn = LogWriter::default();
        torn.write(b"abcd\n", &mut Fake(nearly_full), &warning);
        assert_eq!(taken, b"abc");
        for output in [&mut output, &mut torn] {
            output.write(b"last\n", &mut taken, &warning);
        }
        let text = String::from_utf8(taken).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(
            lines[0].starts_with("abc[warn] 3 lines of the log discarded: "),
            "{text}"
        );
        assert_eq!(lines[1..3], ["last", ""]);
        assert!(
            lines[3].starts_with("[warn] 1 lines of the log discarded: "),
            "{text}"
        );
        assert_eq!(lines[4..], ["last"]);
    }
}
