//! What of `wasi:filesystem` costs the host more than memory of the guest's: functions that open files or
//! list folders are linked again, with accounts around those of `wasmtime-wasi`.

use std::collections::VecDeque;
use std::fs::File;
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
use wasmtime_wasi::p2::ReaddirIterator;
use wasmtime_wasi::p2::bindings::filesystem::types as p2;
use wasmtime_wasi::p3::bindings::filesystem::types as p3;
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn_blocking};

use crate::guest::Guest;
use crate::open_files::{DescriptorPermit, ListingMemory};

/// The versions that `wasmtime-wasi` links. Guests that import others of the same line get these.
const TYPES_02: &str = "wasi:filesystem/types@0.2.12";
const TYPES_03: &str = "wasi:filesystem/types@0.3.0";

/// What an entry of a listing counts for, beside its name.
const ENTRY: u64 = 64;

/// Entries that a stream is given in one go.
const ENTRIES: usize = 256;

/// Links the functions of WASI 0.2 again.
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
    types.resource(
        "directory-entry-stream",
        ResourceType::host::<ReaddirIterator>(),
        |mut store, rep| {
            let guest = store.data_mut();
            guest.files().end_listing(rep);
            let mut host = guest.filesystem();
            p2::HostDirectoryEntryStream::drop(&mut host, Resource::new_own(rep))
        },
    )
}

/// Links the functions of WASI 0.3 again.
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

/// The instance of this name, which is linked already: what is added to another version would have no
/// effect.
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

/// Notices files that are closed, so that what others may open is known at once.
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

/// `wasmtime-wasi` reads all of a folder into memory. How much that will be is found out before.
async fn read_directory_02(
    guest: &mut Guest,
    fd: Resource<Descriptor>,
) -> wasmtime::Result<Result<Resource<ReaddirIterator>, p2::ErrorCode>> {
    // The folder is opened once more to be read.
    let Some(permit) = guest.files().reserve() else {
        return Ok(Err(p2::ErrorCode::Quota));
    };
    let mut memory = guest.files().list();
    let folder = match guest.filesystem().table.get(&fd)? {
        Descriptor::Dir(folder) => Some(Arc::clone(&folder.dir)),
        Descriptor::File(_) => None,
    };
    if let Some(folder) = folder {
        let measured = spawn_blocking(move || {
            // What cannot be listed is refused, with the reason, below.
            let counted = list(&folder, &mut memory, |_, _| {});
            (counted, memory)
        });
        let counted;
        (counted, memory) = measured.await;
        if matches!(counted, Err(Stop::TooLarge)) {
            return Ok(Err(p2::ErrorCode::InsufficientMemory));
        }
    }
    let listed = p2::HostDescriptor::read_directory(&mut guest.filesystem(), fd).await;
    drop(permit);
    match listed {
        Ok(stream) => {
            guest.files().listed(stream.rep(), memory);
            Ok(Ok(stream))
        }
        Err(error) => Ok(Err(error.downcast()?)),
    }
}

/// The entries of a folder, and what has become of reading them.
type Listing = (
    StreamReader<p3::DirectoryEntry>,
    FutureReader<Result<(), p3::ErrorCode>>,
);

/// `wasmtime-wasi` keeps a thread waiting for as long as the guest does not read the entries. Here, the
/// folder is read into memory, as in WASI 0.2.
fn read_directory_03(
    mut store: StoreContextMut<'_, Guest>,
    fd: &Resource<Descriptor>,
) -> wasmtime::Result<Listing> {
    let guest = store.data_mut();
    let folder = match guest.filesystem().table.get(fd)? {
        Descriptor::Dir(folder) => Some(Arc::clone(&folder.dir)),
        Descriptor::File(_) => None,
    };
    let (result, outcome) = oneshot::channel();
    let failed = match folder {
        None => p3::ErrorCode::NotDirectory,
        Some(folder) => match guest.files().reserve() {
            None => p3::ErrorCode::Quota,
            Some(permit) => {
                let mut memory = guest.files().list();
                let task = spawn_blocking(move || {
                    let mut entries = VecDeque::new();
                    let listed = list(&folder, &mut memory, |name, type_| {
                        entries.push_back(p3::DirectoryEntry { type_, name });
                    });
                    drop(permit);
                    (entries, listed, memory)
                });
                let entries = Entries {
                    task: Some(task),
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
    // The reader is there, whatever it does.
    let _ = result.send(Err(failed));
    Ok((
        StreamReader::new(&mut store, std::iter::empty())?,
        FutureReader::new(&mut store, outcome)?,
    ))
}

type Listed = (
    VecDeque<p3::DirectoryEntry>,
    Result<(), Stop>,
    ListingMemory,
);

/// Entries of a folder on their way to the guest.
struct Entries {
    task: Option<AbortOnDropJoinHandle<Listed>>,
    entries: VecDeque<p3::DirectoryEntry>,
    listed: Result<(), Stop>,
    /// Until all entries are the guest's.
    memory: Option<ListingMemory>,
    result: Option<oneshot::Sender<Result<(), p3::ErrorCode>>>,
}

impl StreamProducer<Guest> for Entries {
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
            let (entries, outcome, memory) = listed;
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

impl Entries {
    fn close(&mut self) {
        self.memory = None;
        if let Some(result) = self.result.take() {
            let listed = self.listed.as_ref();
            // Whether the guest still wants to know is its own matter.
            let _ = result.send(listed.map_err(Stop::code).copied());
        }
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        self.close();
    }
}

/// Why a folder was not read to its end.
#[derive(Debug)]
enum Stop {
    TooLarge,
    NotUtf8,
    Failed(Errno),
}

impl Stop {
    fn code(&self) -> p3::ErrorCode {
        match self {
            Self::TooLarge => p3::ErrorCode::InsufficientMemory,
            Self::NotUtf8 => p3::ErrorCode::IllegalByteSequence,
            Self::Failed(error) => std::io::Error::from(*error).into(),
        }
    }
}

impl From<Errno> for Stop {
    fn from(error: Errno) -> Self {
        Self::Failed(error)
    }
}

/// Reads a folder, as far as there is memory for it.
fn list(
    folder: &File,
    memory: &mut ListingMemory,
    mut entry: impl FnMut(String, p3::DescriptorType),
) -> Result<(), Stop> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut listed = Dir::openat(folder, ".", flags, Mode::empty())?;
    for found in listed.iter() {
        let found = found?;
        let name = found.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if !memory.grow(ENTRY + name.to_bytes().len() as u64) {
            return Err(Stop::TooLarge);
        }
        let kind = match found.file_type() {
            Some(kind) => descriptor_type(kind),
            // Some file systems do not say it with the name.
            None => {
                let status = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
                file_type(status.st_mode)
            }
        };
        let name = name.to_str().map_err(|_| Stop::NotUtf8)?;
        entry(name.to_owned(), kind);
    }
    Ok(())
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
