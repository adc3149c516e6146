//! A component as machine code, compiled once and shared by all processes of an application.
//!
//! unitd forks an application's processes from its prototype process, and threads do not survive a
//! fork. So the prototype must stay without threads, while compiling uses all cores, and Wasmtime's
//! engine starts threads of its own. Hence the prototype forks a child that compiles into a memory
//! file, and exits. A compiler that crashes or runs out of memory does not take the prototype with it.
//!
//! The application's processes map the memory file, so its pages are in memory once for all of them.

use std::ffi::c_int;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Instant;

use engine::{Component, Engine, LoadError, Options};
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pipe2};

use crate::ffi;
use crate::isolation::Isolation;

/// The most bytes of the child's message that are read: more than one line needs.
const MAX_MESSAGE: u64 = 16 * 1024;

/// The machine code of one component.
#[derive(Debug)]
pub(crate) struct Image(File);

impl Image {
    /// Compiles the component in the file `path`, as seen from inside `isolation`, for instances of up
    /// to `memory` bytes.
    ///
    /// # Errors
    ///
    /// When it does not load, or the system is out of processes or memory.
    pub(crate) fn compile(path: &Path, isolation: &Isolation, memory: u64) -> Result<Self, String> {
        let started = Instant::now();
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let mut file =
            File::from(memfd_create(c"component", flags).map_err(system("memfd_create"))?);
        let (from_child, to_parent) = pipe2(OFlag::O_CLOEXEC).map_err(system("pipe"))?;

        // SAFETY: the prototype process has this one thread, so no other thread, which the child would
        // lack, holds a lock. The child calls nothing of unitd's, and exits by `_exit`.
        match unsafe { fork() }.map_err(system("fork"))? {
            ForkResult::Child => {
                drop(from_child);
                let code = ffi::guard("the compiler", 2, || {
                    compile_in_child(path, isolation, memory, &mut file, to_parent.into())
                });
                // SAFETY: exits without running what unitd has registered with `atexit`.
                unsafe { nix::libc::_exit(code) }
            }
            ForkResult::Parent { child } => {
                drop(to_parent);
                let mut message = String::new();
                // Ends when the child exits. If it cannot be read, the exit status still says enough.
                let _ = File::from(from_child)
                    .take(MAX_MESSAGE)
                    .read_to_string(&mut message);
                wait(child, message, path)?;
            }
        }

        let seals = SealFlag::F_SEAL_WRITE
            | SealFlag::F_SEAL_GROW
            | SealFlag::F_SEAL_SHRINK
            | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).map_err(system("sealing the memory file"))?;
        let bytes = file.metadata().map_or(0, |metadata| metadata.len());
        tracing::info!(
            "component {:?} compiled in {} ms to {} KiB",
            path.display().to_string(),
            started.elapsed().as_millis(),
            bytes >> 10
        );
        Ok(Self(file))
    }

    /// Loads the component for an engine of this process.
    ///
    /// # Errors
    ///
    /// When the memory file cannot be mapped.
    pub(crate) fn load(&self, engine: &Engine, path: &Path) -> Result<Component, String> {
        let file = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        let load = |wasmtime: &wasmtime::Engine| {
            // SAFETY: the file has what this very code wrote there for an engine of the same options,
            // through a descriptor that only processes of this application have. It has been sealed
            // since, so that nothing can change it while it is mapped.
            let mapped =
                unsafe { wasmtime::component::Component::deserialize_file(wasmtime, &file) };
            mapped.or_else(|error| {
                // Inside `isolation.rootfs` there may be no /proc.
                tracing::debug!("cannot map {file}: {error:#}; copying it");
                let bytes = self.read()?;
                // SAFETY: as above.
                unsafe { wasmtime::component::Component::deserialize(wasmtime, bytes) }
            })
        };
        // No source, which applications share a component by: this process has one application.
        Component::from_image(engine, path, None, load).map_err(|error| error.to_string())
    }

    fn read(&self) -> std::io::Result<Vec<u8>> {
        // By offset: all processes share the file's position.
        let mut bytes = vec![0; usize::try_from(self.0.metadata()?.len()).unwrap_or(usize::MAX)];
        std::os::unix::fs::FileExt::read_exact_at(&self.0, &mut bytes, 0)?;
        Ok(bytes)
    }
}

/// Compiles into `image`, and returns the exit code. Errors are written to the parent.
fn compile_in_child(
    path: &Path,
    isolation: &Isolation,
    memory: u64,
    image: &mut File,
    mut parent: File,
) -> c_int {
    let result = Engine::new(&Options::default())
        .map_err(|error| error.to_string())
        .and_then(|engine| {
            isolation.apply()?;
            // Without the prototype the image has no use. Set here, since a change of user resets it.
            let _ = set_pdeathsig(Signal::SIGKILL);
            let image = || {
                let component = Component::load(&engine, path)?;
                component.fits(path, memory)?;
                component.image(path)
            };
            image().map_err(|error: LoadError| error.to_string())
        })
        .and_then(|bytes| {
            image
                .write_all(&bytes)
                .and_then(|()| image.rewind())
                .map_err(|error| format!("the image of {}: {error}", path.display()))
        });
    match result {
        Ok(()) => 0,
        Err(message) => {
            // If that fails, the parent still sees the exit code.
            let _ = parent.write_all(message.as_bytes());
            1
        }
    }
}

/// Waits for the child.
fn wait(child: Pid, message: String, path: &Path) -> Result<(), String> {
    let status = loop {
        match waitpid(child, None) {
            Err(nix::errno::Errno::EINTR) => {}
            status => break status.map_err(system("waiting for the compiler"))?,
        }
    };
    match status {
        WaitStatus::Exited(_, 0) => Ok(()),
        _ if !message.is_empty() => Err(message),
        WaitStatus::Signaled(_, signal, _) => Err(format!(
            "{}: the compiler process was killed by {signal}, most often because memory ran out",
            path.display()
        )),
        _ => Err(format!(
            "{}: the compiler failed; the lines before this one in the log say why",
            path.display()
        )),
    }
}

fn system(what: &'static str) -> impl Fn(nix::errno::Errno) -> String {
    move |error| format!("{what}: {error}")
}
