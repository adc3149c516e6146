//! The functions of `wasi:filesystem` that open files or list folders: they shadow those of `wasmtime-wasi`,
//! and count file descriptors and host memory. Everything else is `wasmtime-wasi`'s.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag, fstatat, mode_t};
use tokio::sync::oneshot;
use wasmtime::StoreContextMut;
use wasmtime::component::{
    Accessor, Destination, FutureReader, Linker, LinkerInstance, Resource, ResourceType,
    StreamProducer, StreamReader, StreamResult, VecBuffer,
};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::filesystem::types as p2;
use wasmtime_wasi::p3::bindings::filesystem::types as p3;
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn_blocking};
use wasmtime_wasi_io::IoView as _;

use crate::sandbox::descriptors::DescriptorPermit;
use crate::sandbox::guest::Guest;
use crate::sandbox::open_files::{ListingMemory, OpenFiles};

/// The versions that `wasmtime-wasi` links. Imports of another point release resolve to these.
const TYPES_02: &str = "wasi:filesystem/types@0.2.12";
const TYPES_03: &str = "wasi:filesystem/types@0.3.0";

/// Bytes that an entry of a listing counts for, beside its name.
const ENTRY: u64 = 64;

/// Entries that a stream gets at a time.
const ENTRIES: usize = 256;

/// Shadows the functions of WASI 0.2.
pub(crate) fn add_to_linker_02(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut types = existing(linker, TYPES_02)?;
    shadow_descriptor(&mut types)?;
    types.func_wrap_async(
        "[method]descriptor.open-at",
        |mut store: StoreContextMut<'_, Guest>,
         (fd, path_flags, path, open_flags, flags): (
            Resource<Descriptor>,
            p2::PathFlags,
            String,
            p2::OpenFlags,
            p2::DescriptorFlags,
        )| {
            Box::new(async move {
                let guest = store.data_mut();
                let Some(permit) = guest.files().reserve() else {
                    return Ok((Err(p2::ErrorCode::Quota),));
                };
                let mut host = guest.filesystem();
                let opened =
                    p2::HostDescriptor::open_at(&mut host, fd, path_flags, path, open_flags, flags);
                match opened.await {
                    Ok(fd) => {
                        opened_file(guest, &fd, permit)?;
                        Ok((Ok(fd),))
                    }
                    Err(error) => Ok((Err(error.downcast()?),)),
                }
            })
        },
    )?;
    types.func_wrap_async(
        "[method]descriptor.read-directory",
        |mut store: StoreContextMut<'_, Guest>, (fd,): (Resource<Descriptor>,)| {
            Box::new(async move { Ok((read_directory_02(store.data_mut(), fd).await?,)) })
        },
    )?;
    types.func_wrap(
        "[method]directory-entry-stream.read-directory-entry",
        |mut store: StoreContextMut<'_, Guest>, (stream,): (Resource<EntryStream>,)| {
            let stream = store.data_mut().table().get_mut(&stream)?;
            Ok((stream.entries.pop_front().transpose(),))
        },
    )?;
    types.resource(
        "directory-entry-stream",
        ResourceType::host::<EntryStream>(),
        |mut store, rep| {
            let table = store.data_mut().table();
            table.delete(Resource::<EntryStream>::new_own(rep))?;
            Ok(())
        },
    )
}

/// Shadows the functions of WASI 0.3.
pub(crate) fn add_to_linker_03(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut types = existing(linker, TYPES_03)?;
    shadow_descriptor(&mut types)?;
    types.func_wrap_concurrent(
        "[method]descriptor.open-at",
        |accessor: &Accessor<Guest>,
         (fd, path_flags, path, open_flags, flags): (
            Resource<Descriptor>,
            p3::PathFlags,
            String,
            p3::OpenFlags,
            p3::DescriptorFlags,
        )| {
            Box::pin(async move {
                let permit = accessor.with(|mut store| store.get().files().reserve());
                let Some(permit) = permit else {
                    return Ok((Err(p3::ErrorCode::Quota),));
                };
                let host = accessor.with_getter::<WasiFilesystem>(Guest::filesystem);
                let opened = <WasiFilesystem as p3::HostDescriptorWithStore<Guest>>::open_at(
                    &host, fd, path_flags, path, open_flags, flags,
                );
                match opened.await {
                    Ok(fd) => {
                        accessor.with(|mut store| opened_file(store.get(), &fd, permit))?;
                        Ok((Ok(fd),))
                    }
                    Err(error) => Ok((Err(error.downcast()?),)),
                }
            })
        },
    )?;
    types.func_wrap(
        "[method]descriptor.read-directory",
        |store: StoreContextMut<'_, Guest>, (fd,): (Resource<Descriptor>,)| {
            Ok((read_directory_03(store, &fd)?,))
        },
    )
}

/// The instance of this name. An error where it is not linked already: functions added under another version would
/// shadow nothing.
fn existing<'a>(
    linker: &'a mut Linker<Guest>,
    name: &str,
) -> wasmtime::Result<LinkerInstance<'a, Guest>> {
    let descriptor = ResourceType::host::<Descriptor>();
    linker.allow_shadowing(false);
    let is_new = (linker.instance(name)?)
        .resource("descriptor", descriptor, |_, _| Ok(()))
        .is_ok();
    linker.allow_shadowing(true);
    if is_new {
        return Err(wasmtime::Error::msg(format!("{name} is not linked")));
    }
    linker.instance(name)
}

/// Shadows the destructor of descriptors, so that closed files are no longer counted.
fn shadow_descriptor(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    let descriptor = ResourceType::host::<Descriptor>();
    types.resource("descriptor", descriptor, |mut store, rep| {
        let guest = store.data_mut();
        let mut host = guest.filesystem();
        p2::HostDescriptor::drop(&mut host, Resource::new_own(rep))?;
        guest.files().prune();
        Ok(())
    })
}

fn opened_file(
    guest: &mut Guest,
    fd: &Resource<Descriptor>,
    permit: DescriptorPermit,
) -> wasmtime::Result<()> {
    let file = Arc::clone(file_of(guest.filesystem().table.get(fd)?));
    guest.files().opened(&file, permit);
    Ok(())
}

fn file_of(descriptor: &Descriptor) -> &Arc<File> {
    match descriptor {
        Descriptor::File(file) => &file.file,
        Descriptor::Dir(folder) => &folder.dir,
    }
}

/// A folder that is being read on a blocking thread. Its permits are held until the thread has ended, even
/// where the guest is gone before.
type Reading<T> = AbortOnDropJoinHandle<(T, ListingMemory)>;

/// Begins to read a folder; `None` at the limit of open files.
fn start_reading<T: Send + 'static>(
    files: &mut OpenFiles,
    folder: Arc<File>,
    read: impl FnOnce(&File, &mut ListingMemory) -> T + Send + 'static,
) -> Option<Reading<T>> {
    // The folder is opened once more to be read.
    let permit = files.reserve()?;
    let mut memory = files.list();
    Some(spawn_blocking(move || {
        let read = read(&folder, &mut memory);
        drop(permit);
        (read, memory)
    }))
}

/// The folder that is open as this descriptor, unless it is a file.
fn folder_of(guest: &mut Guest, fd: &Resource<Descriptor>) -> wasmtime::Result<Option<Arc<File>>> {
    Ok(match guest.table().get(fd)? {
        Descriptor::Dir(folder) => Some(Arc::clone(&folder.dir)),
        Descriptor::File(_) => None,
    })
}

/// The entries of a folder in WASI 0.2. (`wasmtime-wasi` does not count their memory.)
struct EntryStream {
    entries: VecDeque<Entry02>,
    _memory: ListingMemory,
}

/// An entry, or why it cannot be represented.
type Entry02 = Result<p2::DirectoryEntry, p2::ErrorCode>;

async fn read_directory_02(
    guest: &mut Guest,
    fd: Resource<Descriptor>,
) -> wasmtime::Result<Result<Resource<EntryStream>, p2::ErrorCode>> {
    let Some(folder) = folder_of(guest, &fd)? else {
        return Ok(Err(p2::ErrorCode::NotDirectory));
    };
    let Some(reading) = start_reading(guest.files(), folder, read_02) else {
        return Ok(Err(p2::ErrorCode::Quota));
    };
    match reading.await {
        (Ok(entries), memory) => {
            let stream = EntryStream {
                entries,
                _memory: memory,
            };
            Ok(Ok(guest.table().push(stream)?))
        }
        (Err(stop), _) => Ok(Err(stop.code_02())),
    }
}

fn read_02(folder: &File, memory: &mut ListingMemory) -> Result<VecDeque<Entry02>, ListingError> {
    let mut entries = VecDeque::new();
    let mut listed = open_to_list(folder)?;
    let read = list(folder, &mut listed, memory, |entry| {
        let entry = entry.map(|(name, kind)| p2::DirectoryEntry {
            type_: type_02(&kind),
            name,
        });
        // The guest may continue after such an entry.
        entries.push_back(entry.map_err(|stop| stop.code_02()));
        Ok(())
    });
    match read {
        Err(ListingError::TooLarge) => Err(ListingError::TooLarge),
        Err(stop) => {
            entries.push_back(Err(stop.code_02()));
            Ok(entries)
        }
        Ok(()) => Ok(entries),
    }
}

/// What `read-directory` returns in WASI 0.3: the entries, and whether all could be read.
type Listing = (
    StreamReader<p3::DirectoryEntry>,
    FutureReader<Result<(), p3::ErrorCode>>,
);

/// Reads the folder into memory, as in WASI 0.2. (`wasmtime-wasi` blocks a thread until the guest has read the
/// entries.)
fn read_directory_03(
    mut store: StoreContextMut<'_, Guest>,
    fd: &Resource<Descriptor>,
) -> wasmtime::Result<Listing> {
    let guest = store.data_mut();
    let (result, outcome) = oneshot::channel();
    let failed = match folder_of(guest, fd)? {
        None => p3::ErrorCode::NotDirectory,
        Some(folder) => match start_reading(guest.files(), folder, read_03) {
            None => p3::ErrorCode::Quota,
            Some(reading) => {
                let entries = EntryProducer {
                    task: Some(reading),
                    entries: VecDeque::new(),
                    listed: Ok(()),
                    memory: None,
                    result: Some(result),
                };
                return Ok((
                    StreamReader::new(&mut store, entries)?,
                    FutureReader::new(&mut store, outcome)?,
                ));
            }
        },
    };
    // The receiver is `outcome` below.
    let _ = result.send(Err(failed));
    Ok((
        StreamReader::new(&mut store, std::iter::empty())?,
        FutureReader::new(&mut store, outcome)?,
    ))
}

/// The entries of a folder that could be read, and why not all could.
type Listed = (VecDeque<p3::DirectoryEntry>, Result<(), ListingError>);

fn read_03(folder: &File, memory: &mut ListingMemory) -> Listed {
    let mut entries = VecDeque::new();
    let listed = open_to_list(folder).and_then(|mut listed| {
        list(folder, &mut listed, memory, |entry| {
            let (name, type_) = entry?;
            entries.push_back(p3::DirectoryEntry { type_, name });
            Ok(())
        })
    });
    (entries, listed)
}

/// Entries of a folder on their way to a guest of WASI 0.3.
struct EntryProducer {
    task: Option<Reading<Listed>>,
    entries: VecDeque<p3::DirectoryEntry>,
    listed: Result<(), ListingError>,
    /// Held until the guest has all entries.
    memory: Option<ListingMemory>,
    result: Option<oneshot::Sender<Result<(), p3::ErrorCode>>>,
}

impl StreamProducer<Guest> for EntryProducer {
    type Item = p3::DirectoryEntry;
    type Buffer = VecBuffer<p3::DirectoryEntry>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, Guest>,
        mut destination: Destination<'a, Self::Item, Self::Buffer>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if destination.remaining(&mut store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        if let Some(task) = &mut self.task {
            let listed = match Pin::new(task).poll(cx) {
                Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
                listed => ready!(listed),
            };
            self.task = None;
            let ((entries, outcome), memory) = listed;
            (self.entries, self.listed, self.memory) = (entries, outcome, Some(memory));
        }
        if self.entries.is_empty() {
            self.close();
            return Poll::Ready(Ok(StreamResult::Dropped));
        }
        let count = self.entries.len().min(ENTRIES);
        let entries: Vec<_> = self.entries.drain(..count).collect();
        destination.set_buffer(VecBuffer::from(entries));
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

impl EntryProducer {
    fn close(&mut self) {
        self.memory = None;
        if let Some(result) = self.result.take() {
            let listed = self.listed.as_ref();
            // The guest may have dropped the future.
            let _ = result.send(listed.map_err(ListingError::code_03).copied());
        }
    }
}

impl Drop for EntryProducer {
    fn drop(&mut self) {
        self.close();
    }
}

/// Why a folder was not read to its end, or an entry cannot be represented.
#[derive(Debug)]
enum ListingError {
    TooLarge,
    NotUtf8,
    Failed(Errno),
}

impl ListingError {
    fn code_02(&self) -> p2::ErrorCode {
        match self {
            Self::TooLarge => p2::ErrorCode::InsufficientMemory,
            Self::NotUtf8 => p2::ErrorCode::IllegalByteSequence,
            Self::Failed(error) => io::Error::from(*error).into(),
        }
    }

    fn code_03(&self) -> p3::ErrorCode {
        match self {
            Self::TooLarge => p3::ErrorCode::InsufficientMemory,
            Self::NotUtf8 => p3::ErrorCode::IllegalByteSequence,
            Self::Failed(error) => io::Error::from(*error).into(),
        }
    }
}

impl From<Errno> for ListingError {
    fn from(error: Errno) -> Self {
        Self::Failed(error)
    }
}

fn open_to_list(folder: &File) -> Result<Dir, ListingError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(Dir::openat(folder, ".", flags, Mode::empty())?)
}

/// Reads a folder until its memory is used up or `entry` returns an error.
fn list(
    folder: &File,
    listed: &mut Dir,
    memory: &mut ListingMemory,
    mut entry: impl FnMut(
        Result<(String, p3::DescriptorType), ListingError>,
    ) -> Result<(), ListingError>,
) -> Result<(), ListingError> {
    for found in listed.iter() {
        let found = found?;
        let name = found.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if !memory.grow(ENTRY + name.to_bytes().len() as u64) {
            return Err(ListingError::TooLarge);
        }
        let kind = match found.file_type() {
            Some(kind) => Ok(descriptor_type(kind)),
            // Some file systems do not return the type with the name.
            None => fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)
                .map(|status| file_type(status.st_mode)),
        };
        entry(match (name.to_str(), kind) {
            (Ok(name), Ok(kind)) => Ok((name.to_owned(), kind)),
            (Err(_), _) => Err(ListingError::NotUtf8),
            (_, Err(error)) => Err(error.into()),
        })?;
    }
    Ok(())
}

fn type_02(kind: &p3::DescriptorType) -> p2::DescriptorType {
    match kind {
        p3::DescriptorType::BlockDevice => p2::DescriptorType::BlockDevice,
        p3::DescriptorType::CharacterDevice => p2::DescriptorType::CharacterDevice,
        p3::DescriptorType::Directory => p2::DescriptorType::Directory,
        p3::DescriptorType::Fifo => p2::DescriptorType::Fifo,
        p3::DescriptorType::SymbolicLink => p2::DescriptorType::SymbolicLink,
        p3::DescriptorType::RegularFile => p2::DescriptorType::RegularFile,
        p3::DescriptorType::Socket => p2::DescriptorType::Socket,
        p3::DescriptorType::Other(_) => p2::DescriptorType::Unknown,
    }
}

fn descriptor_type(kind: Type) -> p3::DescriptorType {
    match kind {
        Type::File => p3::DescriptorType::RegularFile,
        Type::Directory => p3::DescriptorType::Directory,
        Type::Symlink => p3::DescriptorType::SymbolicLink,
        Type::CharacterDevice => p3::DescriptorType::CharacterDevice,
        Type::BlockDevice => p3::DescriptorType::BlockDevice,
        Type::Fifo => p3::DescriptorType::Fifo,
        Type::Socket => p3::DescriptorType::Socket,
    }
}

fn file_type(mode: mode_t) -> p3::DescriptorType {
    let kind = SFlag::from_bits_truncate(mode) & SFlag::S_IFMT;
    match kind {
        SFlag::S_IFREG => p3::DescriptorType::RegularFile,
        SFlag::S_IFDIR => p3::DescriptorType::Directory,
        SFlag::S_IFLNK => p3::DescriptorType::SymbolicLink,
        SFlag::S_IFCHR => p3::DescriptorType::CharacterDevice,
        SFlag::S_IFBLK => p3::DescriptorType::BlockDevice,
        SFlag::S_IFIFO => p3::DescriptorType::Fifo,
        SFlag::S_IFSOCK => p3::DescriptorType::Socket,
        _ => p3::DescriptorType::Other(None),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt as _;
    use std::sync::mpsc;

    use tokio::sync::oneshot;

    use super::*;
    use crate::budget::Budget;
    use crate::sandbox::application_memory::ApplicationMemory;
    use crate::sandbox::descriptors::{DescriptorBudget, Descriptors};

    fn application() -> (Arc<Descriptors>, Arc<ApplicationMemory>) {
        (
            Descriptors::new(DescriptorBudget::new(Budget::fair(100)), 1),
            ApplicationMemory::new(Budget::fair(1 << 20), 1),
        )
    }

    /// A folder of so many names that are not UTF-8, and as many that are.
    fn folder(names: u32) -> (tempfile::TempDir, File) {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..names {
            let bad = format!("{number:04}");
            let bad = [b"\xff\xfe", bad.as_bytes()].concat();
            fs::write(folder.path().join(OsStr::from_bytes(&bad)), "").unwrap();
            fs::write(folder.path().join(format!("{number:06}")), "").unwrap();
        }
        let open = File::open(folder.path()).unwrap();
        (folder, open)
    }

    #[test]
    fn names_that_are_not_utf_8_count_for_the_memory_of_a_listing() {
        let (_folder, open) = folder(20);
        let (descriptors, application) = application();
        let files = |memory| {
            let (descriptors, application) = (Arc::clone(&descriptors), Arc::clone(&application));
            OpenFiles::new(descriptors, application, 10, memory)
        };
        let all = 40 * (ENTRY + 6);
        let mut memory = files(all).list();
        let entries = read_02(&open, &mut memory).unwrap();
        assert_eq!(application.used(), all);
        let is_entry = |entry: &&Entry02| entry.is_ok();
        assert_eq!(entries.iter().filter(is_entry).count(), 20);
        let mut others = entries.iter().filter_map(|entry| entry.as_ref().err());
        assert!(others.all(|code| *code == p2::ErrorCode::IllegalByteSequence));
        drop(memory);

        // Whichever entry is the last, it is beyond the limit.
        let mut memory = files(all - 1).list();
        let read = read_02(&open, &mut memory);
        assert!(matches!(read, Err(ListingError::TooLarge)), "{read:?}");
        drop(memory);
        assert_eq!(application.used(), 0);
    }

    #[test]
    fn a_listing_of_wasi_03_ends_at_a_name_that_is_not_utf_8() {
        let (_folder, open) = folder(1);
        let (descriptors, application) = application();
        let mut memory = OpenFiles::new(descriptors, application, 10, 1000).list();
        let (entries, listed) = read_03(&open, &mut memory);
        assert!(entries.len() <= 1);
        assert!(matches!(listed, Err(ListingError::NotUtf8)), "{listed:?}");
    }

    #[tokio::test]
    async fn a_listing_that_is_cancelled_counts_until_its_thread_has_ended() {
        let (descriptors, application) = application();
        let mut files = OpenFiles::new(Arc::clone(&descriptors), Arc::clone(&application), 1, 1000);
        let (begun, has_begun) = oneshot::channel();
        let (release, released) = mpsc::channel::<()>();
        let reading = start_reading(
            &mut files,
            Arc::new(tempfile::tempfile().unwrap()),
            move |_, memory| {
                assert!(memory.grow(500));
                begun.send(()).unwrap();
                released.recv().unwrap();
            },
        );
        has_begun.await.unwrap();
        drop(reading);
        assert!(files.reserve().is_none());
        drop(files);
        assert_eq!(application.used(), 500);
        assert_eq!(descriptors.used(), 1);
        release.send(()).unwrap();
        while application.used() + descriptors.used() > 0 {
            tokio::task::yield_now().await;
        }
    }
}
