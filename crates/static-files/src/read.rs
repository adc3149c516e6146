//! Reading files without blocking the calling thread, if they are in the page cache.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::mem;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use rustix::fs::FsWord;
use rustix::io::{Errno, ReadWriteFlags};
use tokio::task::JoinHandle;

use crate::open::Wait;
use crate::open_files::{CountedFile, Permit};

/// The size of a read, in bytes, and the memory for each file.
pub(crate) const FILE_PIECE: usize = 64 * 1024;

/// Reads pieces of a file: on the calling thread if they are in the page cache, else on the blocking pool.
pub(crate) struct Reader {
    state: ReadState,
    /// The memory of the last piece, which is reused when the receiver has dropped it.
    last: Bytes,
    place: ReadFrom,
}

/// Which thread reads a file, depending on its file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadFrom {
    /// The calling thread, if the data is in the page cache: the file system supports `RWF_NOWAIT`.
    Cache,
    /// The calling thread: no `RWF_NOWAIT`, but everything is in memory.
    Memory,
    /// The calling thread for files of at most one piece, else the pool: no `RWF_NOWAIT`, but a local file system. A
    /// file that was found in the kernel's caches is mostly in the page cache, too; at worst the thread blocks on a
    /// disk once, as Unit's does each time. The files of container images are of this kind, and the pool would take
    /// five times as long for each.
    Disk,
    /// The pool: it may be a network file system.
    Unknown,
}

enum ReadState {
    Idle(CountedFile),
    Reading(JoinHandle<Done>),
    /// After a thread was lost.
    Lost,
}

struct Done {
    file: CountedFile,
    buffer: Vec<u8>,
    read: io::Result<usize>,
}

impl Reader {
    pub(crate) fn new(file: CountedFile) -> Self {
        Self {
            state: ReadState::Idle(file),
            last: Bytes::new(),
            place: ReadFrom::Cache,
        }
    }

    /// Makes the file count among the open files until it is closed.
    pub(crate) fn count(&mut self, permit: Permit) {
        if let ReadState::Idle(file) = &mut self.state {
            file.permit = Some(permit);
        }
    }

    /// At most `length` bytes from `at`, and at most [`FILE_PIECE`]; empty at the end of the file. `None` if it would
    /// have to block and `wait` forbids it.
    pub(crate) fn read(&mut self, at: u64, length: u64, wait: Wait) -> Option<io::Result<Bytes>> {
        let ReadState::Idle(CountedFile { file, .. }) = &self.state else {
            return None;
        };
        let mut buffer = buffer(mem::take(&mut self.last), length);
        let mut read = None;
        if wait == Wait::Never && self.place == ReadFrom::Cache {
            match read_cached(file, &mut buffer, at) {
                Ok(length) => read = Some(Ok(length)),
                Err(NotCached::Wait) => {}
                Err(NotCached::CannotTell) => self.place = ReadFrom::without_nowait(file),
                Err(NotCached::Failed(error)) => read = Some(Err(error)),
            }
        }
        let may_wait = match self.place {
            _ if wait == Wait::Allowed => true,
            ReadFrom::Memory => true,
            ReadFrom::Disk => length <= FILE_PIECE as u64,
            ReadFrom::Cache | ReadFrom::Unknown => false,
        };
        if read.is_none() && may_wait {
            read = Some(read_waiting(file, &mut buffer, at));
        }
        let Some(read) = read else {
            self.last = Bytes::from(buffer);
            return None;
        };
        Some(read.map(|read| self.piece(buffer, read, length)))
    }

    /// Like [`read`](Self::read), and uses the blocking pool if necessary. Until it is ready, it must be called with
    /// the same arguments.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, if it uses the pool.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        at: u64,
        length: u64,
    ) -> Poll<io::Result<Bytes>> {
        if let Some(read) = self.read(at, length, Wait::Never) {
            return Poll::Ready(read);
        }
        let mut task = match mem::replace(&mut self.state, ReadState::Lost) {
            ReadState::Reading(task) => task,
            ReadState::Lost => {
                return Poll::Ready(Err(io::Error::other(
                    "the read was aborted (shutdown or panic)",
                )));
            }
            ReadState::Idle(file) => {
                let last = mem::take(&mut self.last);
                tokio::task::spawn_blocking(move || {
                    let mut buffer = buffer(last, length);
                    let read = read_waiting(&file.file, &mut buffer, at);
                    Done { file, buffer, read }
                })
            }
        };
        let Poll::Ready(done) = Pin::new(&mut task).poll(cx) else {
            self.state = ReadState::Reading(task);
            return Poll::Pending;
        };
        // The runtime is shutting down.
        let Done { file, buffer, read } = done.map_err(io::Error::other)?;
        self.state = ReadState::Idle(file);
        Poll::Ready(read.map(|read| self.piece(buffer, read, length)))
    }

    /// The piece of `read` bytes; `wanted` bytes are left to read in all.
    fn piece(&mut self, buffer: Vec<u8>, read: usize, wanted: u64) -> Bytes {
        let mut piece = Bytes::from(buffer);
        if wanted > read as u64 {
            self.last = piece.clone();
        }
        piece.truncate(read);
        piece
    }
}

impl ReadFrom {
    /// For a file whose file system does not support `RWF_NOWAIT`.
    fn without_nowait(file: &File) -> Self {
        /// By `f_type` of statfs(2).
        const TMPFS: FsWord = 0x0102_1994;
        const RAMFS: FsWord = 0x8584_58f6;
        const OVERLAYFS: FsWord = 0x794c_7630;
        const SQUASHFS: FsWord = 0x7371_7368;
        match rustix::fs::fstatfs(file).map(|status| status.f_type) {
            Ok(TMPFS | RAMFS) => Self::Memory,
            Ok(OVERLAYFS | SQUASHFS) => Self::Disk,
            Ok(_) | Err(_) => Self::Unknown,
        }
    }
}

/// A buffer for `length` bytes, at most one piece; `last` is reused if nothing else refers to it.
fn buffer(last: Bytes, length: u64) -> Vec<u8> {
    let length = usize::try_from(length).map_or(FILE_PIECE, |length| length.min(FILE_PIECE));
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
        // Some kernels return 0 for data that is not cached (preadv2(2), "BUGS"), so only an ordinary read can
        // report the end of the file.
        Ok(0) | Err(Errno::AGAIN | Errno::INTR) => Err(NotCached::Wait),
        Ok(read) => Ok(read),
        // File systems and kernels without `RWF_NOWAIT`.
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Err(NotCached::CannotTell),
        Err(errno) => Err(NotCached::Failed(errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write;

    use super::*;

    fn file(length: usize) -> (CountedFile, Vec<u8>) {
        let text: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&text).unwrap();
        (CountedFile { file, permit: None }, text)
    }

    fn all(reader: &mut Reader, length: u64) -> Vec<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (mut at, mut read) = (0, Vec::new());
            while at < length {
                let piece = poll_fn(|cx| reader.poll_read(cx, at, length - at)).await;
                let piece = piece.unwrap();
                assert!(!piece.is_empty() && piece.len() <= FILE_PIECE);
                at += piece.len() as u64;
                read.extend_from_slice(&piece);
            }
            let end = poll_fn(|cx| reader.poll_read(cx, at, 1)).await.unwrap();
            assert!(end.is_empty());
            read
        })
    }

    #[test]
    fn wherever_a_file_is_read_it_is_the_same() {
        for place in [
            ReadFrom::Cache,
            ReadFrom::Memory,
            ReadFrom::Disk,
            ReadFrom::Unknown,
        ] {
            for length in [1, FILE_PIECE, 3 * FILE_PIECE + 5] {
                let (file, text) = file(length);
                let mut reader = Reader::new(file);
                reader.place = place;
                assert!(all(&mut reader, length as u64) == text, "{place:?}");
            }
        }
    }

    #[test]
    fn what_is_not_cached_is_read_elsewhere() {
        let (file, text) = file(5 * FILE_PIECE);
        file.file.sync_all().unwrap();
        rustix::fs::fadvise(&file.file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        assert!(all(&mut Reader::new(file), 5 * FILE_PIECE as u64) == text);
    }

    #[test]
    fn memory_is_used_again_once_it_is_let_go() {
        let (file, _) = file(4 * FILE_PIECE);
        let mut reader = Reader::new(file);
        let mut read = |at: usize| {
            let (at, left) = (at as u64, (4 * FILE_PIECE - at) as u64);
            reader.read(at, left, Wait::Allowed).unwrap().unwrap()
        };
        let first = read(0);
        let memory = first.as_ptr();
        let second = read(FILE_PIECE);
        assert_ne!(second.as_ptr(), memory, "it is still in use");
        drop((first, second));
        let third = read(2 * FILE_PIECE);
        let memory = third.as_ptr();
        drop(third);
        assert_eq!(read(3 * FILE_PIECE).as_ptr(), memory);
    }

    #[test]
    fn a_file_that_may_be_anywhere_is_not_waited_for_here() {
        let (file, _) = file(2 * FILE_PIECE);
        let mut reader = Reader::new(file);
        reader.place = ReadFrom::Unknown;
        assert!(reader.read(0, 1, Wait::Never).is_none());
        reader.place = ReadFrom::Disk;
        assert!(reader.read(0, FILE_PIECE as u64 + 1, Wait::Never).is_none());
        assert!(reader.read(0, FILE_PIECE as u64, Wait::Never).is_some());
        reader.place = ReadFrom::Memory;
        assert!(reader.read(0, 2 * FILE_PIECE as u64, Wait::Never).is_some());
    }
}
