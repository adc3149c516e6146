//! Writing to files that may accept no bytes for a while, such as pipes.

use std::io::{self, ErrorKind, Write};
use std::thread;
use std::time::{Duration, Instant};

/// How soon a full pipe is tried again.
const RETRY: Duration = Duration::from_millis(5);

/// Writes all of `bytes`, in one call if the system takes them. Blocks.
///
/// A non-blocking file is retried while `waits`, which gets the time since it last accepted bytes, returns true.
///
/// # Errors
///
/// The number of bytes that were written, and the error of `write(2)`: [`ErrorKind::WouldBlock`] where `waits` returned
/// false.
pub fn write_all(
    file: &mut impl Write,
    bytes: &[u8],
    waits: impl Fn(Duration) -> bool,
) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    let mut progress = Instant::now();
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return Err((written, ErrorKind::WriteZero.into())),
            Ok(more) => {
                written += more;
                progress = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && waits(progress.elapsed()) => {
                thread::sleep(RETRY);
            }
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes two bytes with each write, after this many writes that take nothing.
    struct Slow {
        refusals: usize,
        taken: Vec<u8>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.refusals > 0 {
                self.refusals -= 1;
                return Err(ErrorKind::WouldBlock.into());
            }
            let some = &bytes[..bytes.len().min(2)];
            self.taken.extend_from_slice(some);
            Ok(some.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_file_that_would_block_is_retried_for_as_long_as_asked() {
        let mut file = Slow {
            refusals: 3,
            taken: Vec::new(),
        };
        write_all(&mut file, b"abcde", |_| true).unwrap();
        assert_eq!(file.taken, b"abcde");
        file.refusals = 1;
        let (written, error) = write_all(&mut file, b"abc", |_| false).unwrap_err();
        assert_eq!((written, error.kind()), (0, ErrorKind::WouldBlock));
    }
}
