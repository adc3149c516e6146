//! Executable code in a process that may not make written memory executable.
//!
//! Wasmtime maps an entry as data, and then makes its code executable by mprotect(2). That is what systemd's
//! `MemoryDenyWriteExecute` and `PR_SET_MDWE` forbid, since it is how injected code becomes executable. They allow to
//! map a file as executable from the start, as the dynamic linker does. So the code of an entry is mapped a second time
//! from its file, over the first mapping.

use std::cell::RefCell;
use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::ptr;
use std::slice;

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mprotect, munmap};
use wasmtime::CustomCodeMemory;

/// Makes machine code executable without mprotect(2), for [`engine::Options::code_memory`].
///
/// Only code out of a [`Cache`](crate::Cache) on a file system that allows execution can be mapped so. Other code is
/// made executable as Wasmtime does it, which fails where that is forbidden.
#[derive(Clone, Copy, Debug, Default)]
pub struct MappedCode;

thread_local! {
    /// The entry that this thread maps. Wasmtime passes no context to a [`CustomCodeMemory`], but calls it on the
    /// thread that deserializes.
    static ENTRY: RefCell<Option<File>> = const { RefCell::new(None) };
}

/// Calls `map`, in which Wasmtime maps this entry, and nothing else, on this thread.
pub(crate) fn of_entry<T>(
    entry: &File,
    map: impl FnOnce() -> wasmtime::Result<T>,
) -> wasmtime::Result<T> {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            ENTRY.set(None);
        }
    }
    ENTRY.set(Some(entry.try_clone()?));
    let _reset = Reset;
    map()
}

impl CustomCodeMemory for MappedCode {
    fn required_alignment(&self) -> usize {
        rustix::param::page_size()
    }

    fn publish_executable(&self, code: *const u8, length: usize) -> wasmtime::Result<()> {
        let mapped = ENTRY.with_borrow(|entry| match entry {
            Some(entry) => map_again(entry, code, length),
            None => Ok(false),
        });
        match mapped {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            // Most likely because the file system is mounted `noexec`. The error below says more where that matters.
            Err(error) => tracing::debug!("cannot map code from its cache entry: {error}"),
        }
        // SAFETY: Wasmtime passes memory of its own that holds code, and writes no more to it.
        #[expect(unsafe_code, reason = "this crate's purpose")]
        let made = unsafe {
            mprotect(
                code.cast_mut().cast(),
                length,
                MprotectFlags::READ | MprotectFlags::EXEC,
            )
        };
        made.map_err(|error| {
            wasmtime::Error::from(io::Error::from(error))
                .context("this process may not make memory executable")
        })
    }

    /// Nothing: Wasmtime calls this before it unmaps the code.
    fn unpublish_executable(&self, _: *const u8, _: usize) -> wasmtime::Result<()> {
        Ok(())
    }
}

/// Maps the code of `entry` as executable over `code`, which is a mapping of the same bytes. Returns false, and changes
/// nothing, if it is not.
fn map_again(entry: &File, code: *const u8, length: usize) -> io::Result<bool> {
    let Some(offset) = code_offset(entry, length)? else {
        return Ok(false);
    };
    let map = |at: *mut c_void, flags: MapFlags| {
        let flags = flags | MapFlags::PRIVATE;
        // SAFETY: without `FIXED`, a new mapping touches no other. With `FIXED`, see below.
        #[expect(unsafe_code, reason = "this crate's purpose")]
        unsafe {
            mmap(
                at,
                length,
                ProtFlags::READ | ProtFlags::EXEC,
                flags,
                entry,
                offset,
            )
        }
    };
    let copy = map(ptr::null_mut(), MapFlags::empty())?;
    // SAFETY: both are readable for `length` bytes, and neither changes: an entry is not written to after it has its
    // name. The copy is unmapped after its last use.
    #[expect(unsafe_code, reason = "this crate's purpose")]
    let is_same = unsafe {
        let is_same =
            slice::from_raw_parts(copy.cast::<u8>(), length) == slice::from_raw_parts(code, length);
        munmap(copy, length)?;
        is_same
    };
    if is_same {
        // Sound, since for those who read it the memory stays as it is: `code` is page-aligned, as Wasmtime promises,
        // and the rest of its last page is out of the same file, too. Wasmtime unmaps it as a part of its own mapping.
        if let Err(error) = map(code.cast_mut().cast(), MapFlags::FIXED) {
            // The old mapping may be gone, and Wasmtime would later unmap what has taken its place.
            tracing::error!("lost a mapping of machine code: {error}; ending the process");
            std::process::abort();
        }
    }
    Ok(is_same)
}

/// Offset of the section of this length with executable code, in Wasmtime's image, which is an ELF file of 64 bits.
fn code_offset(entry: &File, length: usize) -> io::Result<Option<u64>> {
    const HEADER: usize = 64;
    const SECTION: usize = 64;
    const EXECUTABLE: u64 = 4;
    let mut header = [0; HEADER];
    entry.read_exact_at(&mut header, 0)?;
    let sections = number::<8>(&header, 0x28);
    for index in 0..number::<2>(&header, 0x3c) {
        let mut section = [0; SECTION];
        let at = index
            .checked_mul(SECTION as u64)
            .and_then(|at| at.checked_add(sections));
        let at = at.ok_or(io::ErrorKind::InvalidData)?;
        entry.read_exact_at(&mut section, at)?;
        let is_executable = number::<8>(&section, 0x08) & EXECUTABLE != 0;
        if is_executable && number::<8>(&section, 0x20) == length as u64 {
            return Ok(Some(number::<8>(&section, 0x18)));
        }
    }
    Ok(None)
}

/// A number of `N` bytes, in the byte order of the processors that the images are for.
fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number[..N].copy_from_slice(&bytes[at..at + N]);
    u64::from_le_bytes(number)
}
