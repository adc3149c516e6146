use std::fs::File;
use std::io::{self, IoSliceMut};
use std::mem;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use rustix::io::{Errno, ReadWriteFlags};
use tokio::task::JoinHandle;

use crate::open::Wait;

/// How much is read of a file at once, and is in memory of it at a time.
pub(crate) const PIECE: usize = 64 * 1024;

/// Reads pieces of a file, on the spot while they are in the page cache, else on a thread that may
/// wait.
pub(crate) struct Reader {
    state: State,
    /// The memory of the last piece. Once whoever got that has let it go, it is used again.
    last: Bytes,
    /// Whether the file system can tell what is in the page cache.
    tells: bool,
}

enum State {
    Idle(File),
    Reading(JoinHandle<Done>),
    /// After a thread was lost.
    Lost,
}

struct Done {
    file: File,
    buffer: Vec<u8>,
    read: io::Result<usize>,
}

impl Reader {
    pub(crate) fn new(file: File) -> Self {
        Self {
            state: State::Idle(file),
            last: Bytes::new(),
            tells: true,
        }
    }

    /// At most `length` bytes from `at` on, and at most [`PIECE`]; none while it would have to wait
    /// and may not. Empty at the end of the file.
    pub(crate) fn read(&mut self, at: u64, length: u64, wait: Wait) -> Option<io::Result<Bytes>> {
        let State::Idle(file) = &self.state else {
            return None;
        };
        if wait == Wait::Never && !self.tells {
            return None;
        }
        let mut buffer = buffer(mem::take(&mut self.last), length);
        let read = match wait {
            Wait::Allowed => read_waiting(file, &mut buffer, at),
            Wait::Never => match read_cached(file, &mut buffer, at) {
                Ok(read) => Ok(read),
                Err(NotCached::Wait) => {
                    self.last = Bytes::from(buffer);
                    return None;
                }
                Err(NotCached::CannotTell) => {
                    self.tells = false;
                    self.last = Bytes::from(buffer);
                    return None;
                }
                Err(NotCached::Failed(error)) => Err(error),
            },
        };
        Some(read.map(|read| self.piece(buffer, read, length)))
    }

    /// The same, and waits elsewhere if it must. Until it is ready, it is called with the same
    /// arguments.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, when it must wait.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        at: u64,
        length: u64,
    ) -> Poll<io::Result<Bytes>> {
        if let Some(read) = self.read(at, length, Wait::Never) {
            return Poll::Ready(read);
        }
        let mut task = match mem::replace(&mut self.state, State::Lost) {
            State::Reading(task) => task,
            State::Lost => return Poll::Ready(Err(io::Error::other("its reader is gone"))),
            State::Idle(file) => {
                let last = mem::take(&mut self.last);
                tokio::task::spawn_blocking(move || {
                    let mut buffer = buffer(last, length);
                    let read = read_waiting(&file, &mut buffer, at);
                    Done { file, buffer, read }
                })
            }
        };
        let Poll::Ready(done) = Pin::new(&mut task).poll(cx) else {
            self.state = State::Reading(task);
            return Poll::Pending;
        };
        // Lost where the runtime is shutting down.
        let Done { file, buffer, read } = done.map_err(io::Error::other)?;
        self.state = State::Idle(file);
        Poll::Ready(read.map(|read| self.piece(buffer, read, length)))
    }

    /// What was read, of `wanted` bytes in all.
    fn piece(&mut self, buffer: Vec<u8>, read: usize, wanted: u64) -> Bytes {
        let mut piece = Bytes::from(buffer);
        if wanted > read as u64 {
            self.last = piece.clone();
        }
        piece.truncate(read);
        piece
    }
}

/// A buffer for `length` bytes, or for a piece of them, of `last` if that is nobody else's.
fn buffer(last: Bytes, length: u64) -> Vec<u8> {
    let length = usize::try_from(length).map_or(PIECE, |length| length.min(PIECE));
    match last.try_into_mut() {
        Ok(last) if last.len() >= length => {
            let mut buffer = Vec::from(last);
            buffer.truncate(length);
            buffer
        }
        _ => vec![0; length],
    }
}

fn read_waiting(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

enum NotCached {
    Wait,
    CannotTell,
    Failed(io::Error),
}

fn read_cached(file: &File, buffer: &mut [u8], at: u64) -> Result<usize, NotCached> {
    let into = &mut [IoSliceMut::new(buffer)];
    match rustix::io::preadv2(file, into, at, ReadWriteFlags::NOWAIT) {
        // Some kernels say this of what is not cached (preadv2(2), "BUGS"): that a file has ended is
        // only believed when an ordinary read tells it.
        Ok(0) | Err(Errno::AGAIN | Errno::INTR) => Err(NotCached::Wait),
        Ok(read) => Ok(read),
        // File systems that cannot tell, as overlayfs; kernels that cannot.
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Err(NotCached::CannotTell),
        Err(errno) => Err(NotCached::Failed(errno.into())),
    }
}
