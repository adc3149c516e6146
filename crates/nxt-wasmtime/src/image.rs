//! A component as machine code, made once and shared by all processes of an application.
//!
//! unitd forks an application's processes from its prototype process, and threads do not survive a
//! fork. So the prototype must stay without threads, while compiling takes all cores, and Wasmtime's
//! engine brings threads of its own. Hence the prototype makes a child that compiles into a memory
//! file, and ends. A compiler that crashes, or takes memory without end, is not the prototype's end.
//!
//! The application's processes map the memory file: its pages are there once, however many
//! processes there are.

use std::ffi::c_int;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Instant;

use engine::{Component, Engine, LoadError, Options};
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl::{set_no_new_privs, set_pdeathsig};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{
    ForkResult, Gid, Pid, Uid, chdir, chroot, fork, geteuid, pipe2, setgid, setgroups, setuid,
};

use crate::configuration::Place;
use crate::ffi;

/// Bytes of the child's message that are read: more than one line needs.
const MESSAGE: u64 = 16 * 1024;

/// The machine code of one component.
#[derive(Debug)]
pub(crate) struct Image(File);

impl Image {
    /// Compiles the component in the file `path`, as seen from `place`, for instances that may have
    /// `memory` bytes.
    ///
    /// # Errors
    ///
    /// When it does not load, or the system has no process or memory to give.
    pub(crate) fn compile(path: &Path, place: &Place, memory: u64) -> Result<Self, String> {
        let started = Instant::now();
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let mut file =
            File::from(memfd_create(c"component", flags).map_err(system("memfd_create"))?);
        let (from_child, to_parent) = pipe2(OFlag::O_CLOEXEC).map_err(system("pipe"))?;

        // SAFETY: the prototype process has this one thread, so that no lock is held by another that
        // the child does not have. The child calls nothing of unitd's and leaves by `_exit`.
        match unsafe { fork() }.map_err(system("fork"))? {
            ForkResult::Child => {
                drop(from_child);
                let code = ffi::guard("the compiler", 2, || {
                    compile_in_child(path, place, memory, &mut file, to_parent.into())
                });
                // SAFETY: ends this process without running what unitd has registered for its own
                // end.
                unsafe { nix::libc::_exit(code) }
            }
            ForkResult::Parent { child } => {
                drop(to_parent);
                let mut message = String::new();
                // Ends when the child does. What cannot be read is told by how the child ended.
                let _ = File::from(from_child)
                    .take(MESSAGE)
                    .read_to_string(&mut message);
                wait(child, message, path)?;
            }
        }

        let seals = SealFlag::F_SEAL_WRITE
            | SealFlag::F_SEAL_GROW
            | SealFlag::F_SEAL_SHRINK
            | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).map_err(system("sealing a memory file"))?;
        let bytes = file.metadata().map_or(0, |metadata| metadata.len());
        tracing::info!(
            "component {:?} compiled in {} ms to {} KiB",
            path.display().to_string(),
            started.elapsed().as_millis(),
            bytes >> 10
        );
        Ok(Self(file))
    }

    /// Makes the component of it, for an engine of this process.
    ///
    /// # Errors
    ///
    /// When the memory file cannot be mapped.
    pub(crate) fn load(&self, engine: &Engine, path: &Path) -> Result<Component, String> {
        let file = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        let load = |wasmtime: &wasmtime::Engine| {
            // SAFETY: the file has what this very code wrote there for an engine of the same options,
            // in a process of this user's that nobody else can reach; it has been sealed since, so
            // that nobody can change it as long as it is mapped.
            let mapped =
                unsafe { wasmtime::component::Component::deserialize_file(wasmtime, &file) };
            mapped.or_else(|error| {
                // In a root file system of its own a process may have no /proc.
                tracing::debug!("{file} cannot be mapped, and is copied: {error:#}");
                let bytes = self.read()?;
                // SAFETY: as above.
                unsafe { wasmtime::component::Component::deserialize(wasmtime, bytes) }
            })
        };
        // It is the only application of its process.
        Component::from_image(engine, path, None, load).map_err(|error| error.to_string())
    }

    fn read(&self) -> std::io::Result<Vec<u8>> {
        // All processes share one position in the file.
        let mut bytes = vec![0; usize::try_from(self.0.metadata()?.len()).unwrap_or(usize::MAX)];
        std::os::unix::fs::FileExt::read_exact_at(&self.0, &mut bytes, 0)?;
        Ok(bytes)
    }
}

/// Compiles into `image`. What goes wrong is told to the parent.
fn compile_in_child(
    path: &Path,
    place: &Place,
    memory: u64,
    image: &mut File,
    mut parent: File,
) -> c_int {
    let result = Engine::new(&Options::default())
        .map_err(|error| error.to_string())
        .and_then(|engine| {
            place.enter()?;
            // Without the prototype nobody wants the image. (A change of user resets this.)
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
            // If the parent does not hear it, it still sees the code.
            let _ = parent.write_all(message.as_bytes());
            1
        }
    }
}

impl Place {
    /// Goes where the application's processes will be, and becomes their user: whoever wrote the
    /// component must not meet unitd's rights in the compiler, nor in the file that is read.
    fn enter(&self) -> Result<(), String> {
        let failed = |what: &str| {
            let what = what.to_owned();
            move |error: nix::errno::Errno| format!("{what}: {error}")
        };
        if let Some(root) = &self.root {
            let what = format!("isolation.rootfs {}", root.display());
            chroot(root)
                .and_then(|()| chdir("/"))
                .map_err(failed(&what))?;
        }
        if let Some(directory) = &self.directory {
            let what = format!("working_directory {}", directory.display());
            chdir(directory).map_err(failed(&what))?;
        }
        // Only root can become another; in a user namespace unitd does it otherwise.
        if let Some(user) = self.user.as_ref().filter(|_| geteuid().is_root()) {
            let group = Gid::from_raw(user.group);
            let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
            setgroups(&groups)
                .and_then(|()| setgid(group))
                .and_then(|()| setuid(Uid::from_raw(user.id)))
                .map_err(failed("becoming the application's user"))?;
        }
        set_no_new_privs().map_err(failed("no_new_privs"))
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
            "{}: the process that compiled it was killed by {signal}; too little memory, most often",
            path.display()
        )),
        _ => Err(format!(
            "{}: the compiler failed; the log has more",
            path.display()
        )),
    }
}

fn system(what: &'static str) -> impl Fn(nix::errno::Errno) -> String {
    move |error| format!("{what}: {error}")
}
