//! Lines on their way to the log. A thread of its own writes them, so that no other one ever waits for
//! the disk or for who reads the pipe.

use std::io::{self, Write};
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes that wait to be written.
pub(super) const MAX_WAITING: usize = 4 << 20;

#[derive(Default)]
pub(super) struct LineQueue {
    state: Mutex<State>,
    /// There is something to write.
    filled: Condvar,
    /// All that was there has been written.
    emptied: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Lines for which there was no room.
    dropped: u64,
    is_writing: bool,
}

impl LineQueue {
    /// Adds a line, unless too much waits already. Never waits for the file.
    pub(super) fn add(&self, line: &[u8]) {
        let mut state = self.state();
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
        let state = self.state();
        let is_busy = |state: &mut State| !state.waiting.is_empty() || state.is_writing;
        drop(self.emptied.wait_timeout_while(state, limit, is_busy));
    }

    /// Writes lines for as long as the process lives, each time to what `file` returns. `warning` makes a
    /// line.
    pub(super) fn write_all<W: Write>(
        &self,
        file: impl Fn() -> W,
        warning: impl Fn(&str) -> String,
    ) {
        let mut output = Output::default();
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
        let is_empty = |state: &mut State| state.waiting.is_empty();
        let state = self.filled.wait_while(self.state(), is_empty);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        state.is_writing = true;
        (mem::take(&mut state.waiting), mem::take(&mut state.dropped))
    }

    fn done(&self) {
        let mut state = self.state();
        state.is_writing = false;
        let is_empty = state.waiting.is_empty();
        drop(state);
        if is_empty {
            self.emptied.notify_all();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the file has taken.
#[derive(Default)]
struct Output {
    /// It ends within a line, whose rest is lost.
    is_torn: bool,
    /// Lines that it did not take, and why.
    lost: Option<(u64, io::Error)>,
}

impl Output {
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

/// Writes all, however long a pipe takes that someone else has made non-blocking. An error says how much was
/// written before.
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
        let mut output = Output::default();
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
        let mut torn = Output::default();
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
