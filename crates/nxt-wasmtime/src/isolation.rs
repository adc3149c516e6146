//! The root, working directory and user of an application's processes, for the child that compiles:
//! unitd gives them to processes only after `setup()`.

use std::path::PathBuf;

use nix::sys::prctl::set_no_new_privs;
use nix::unistd::{Gid, Uid, chdir, chroot, geteuid, setgid, setgroups, setuid};

/// What unitd applies to a process of the application right after `setup()`.
#[derive(Debug)]
pub(crate) struct Isolation {
    /// `isolation.rootfs`.
    pub(crate) root: Option<PathBuf>,
    /// `working_directory`.
    pub(crate) directory: Option<PathBuf>,
    pub(crate) credentials: Option<Credentials>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: u32,
    pub(crate) group: u32,
    pub(crate) groups: Vec<u32>,
}

impl Isolation {
    /// Applies it to this process, and drops all privileges: the author of the component must not have
    /// unitd's rights, neither by an attack on the compiler nor by the file that is read.
    ///
    /// # Errors
    ///
    /// As one sentence for the log. The process may have been isolated in part by then.
    pub(crate) fn apply(&self) -> Result<(), String> {
        let failed = |what: &str| {
            let what = what.to_owned();
            move |error: nix::errno::Errno| format!("{what}: {error}")
        };
        if let Some(root) = &self.root {
            let what = format!("cannot enter isolation.rootfs {}", root.display());
            chroot(root)
                .and_then(|()| chdir("/"))
                .map_err(failed(&what))?;
        }
        if let Some(directory) = &self.directory {
            let what = format!("cannot enter working_directory {}", directory.display());
            chdir(directory).map_err(failed(&what))?;
        }
        // Only root can change user; in a user namespace unitd does it differently.
        if let Some(credentials) = self.credentials.as_ref().filter(|_| geteuid().is_root()) {
            let group = Gid::from_raw(credentials.group);
            let groups: Vec<Gid> = credentials
                .groups
                .iter()
                .copied()
                .map(Gid::from_raw)
                .collect();
            // Groups first: a process that is no longer root cannot set them.
            setgroups(&groups)
                .and_then(|()| setgid(group))
                .and_then(|()| setuid(Uid::from_raw(credentials.user)))
                .map_err(failed("cannot change to the application's user"))?;
        }
        set_no_new_privs().map_err(failed("cannot set no_new_privs"))
    }
}
