//! Drops root privileges: looks up the user and group of `--user`, gives them the files, and switches to them.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::OFlag;
use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, initgroups, setgid, setuid};

/// A user and group to switch to.
pub(crate) struct Identity {
    name: CString,
    user: Uid,
    group: Gid,
}

impl Identity {
    /// `None` without a user.
    ///
    /// # Errors
    ///
    /// When the user or group does not exist, or this process must not switch to it.
    pub(crate) fn find(user: Option<&str>, group: Option<&str>) -> Result<Option<Self>> {
        let Some(name) = user else {
            if group.is_some() {
                bail!("--group needs --user");
            }
            return Ok(None);
        };
        let user = User::from_name(name)?.with_context(|| format!("no such user: {name:?}"))?;
        let group = group.map(find_group).transpose()?;
        require_right((geteuid(), getegid()), user.uid, group)?;
        Ok(Some(Self {
            name: CString::new(name)?,
            user: user.uid,
            group: group.unwrap_or(user.gid),
        }))
    }

    /// Changes the owner of a file or folder to this user. A missing one is skipped.
    ///
    /// The folder may belong to that user already, who could have put a link to another file there, of which root
    /// would then change the owner. So neither symlinks nor files with a second hard link are accepted.
    pub(crate) fn hand_over(&self, path: &Path) -> Result<()> {
        let context = || {
            format!(
                "cannot change the owner of {} to the server's user",
                path.display()
            )
        };
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NOFOLLOW.bits() | OFlag::O_NONBLOCK.bits())
            .open(path);
        let file = match opened {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            opened => opened.with_context(context)?,
        };
        let metadata = file.metadata().with_context(context)?;
        if !metadata.is_dir() && (!metadata.is_file() || metadata.nlink() > 1) {
            bail!(
                "{}: not a regular file, or hard-linked; its owner is not changed",
                path.display()
            );
        }
        fchown(&file, Some(self.user.as_raw()), Some(self.group.as_raw())).with_context(context)
    }

    /// Requires that this user cannot change a file or folder that root is to read: in it the user could name files
    /// that only root may read. What belongs to the user, or can be written by everyone or by a group other than
    /// root's, is refused; a folder's files are checked as well, and the folder that it is in.
    pub(crate) fn require_others_files(&self, path: &Path) -> Result<()> {
        if self.user.is_root() || !geteuid().is_root() {
            return Ok(());
        }
        let entries = path.is_dir().then(|| path.read_dir()).transpose();
        let entries = entries.with_context(|| format!("cannot read {path:?}"))?;
        let files = entries.into_iter().flatten().flatten().map(|it| it.path());
        let parent = path.parent().map(Path::to_owned);
        for path in [path.to_owned()].into_iter().chain(parent).chain(files) {
            let Ok(metadata) = path.metadata() else {
                continue;
            };
            let mode = metadata.mode();
            // In a sticky folder, such as /tmp, other users cannot replace a file.
            let by_all = mode & 0o002 != 0 && mode & 0o1000 == 0;
            let by_group = mode & 0o020 != 0 && metadata.gid() != 0;
            if metadata.uid() == self.user.as_raw() || by_all || by_group {
                bail!(
                    "{path:?} can be written by the user of --user: root does not read a configuration that this \
                     user could change"
                );
            }
        }
        Ok(())
    }

    /// Switches to this user, irrevocably.
    pub(crate) fn assume(&self) -> Result<()> {
        if geteuid() == self.user && !geteuid().is_root() {
            return Ok(());
        }
        initgroups(&self.name, self.group).context("cannot set the supplementary groups")?;
        setgid(self.group).context("cannot change the group")?;
        setuid(self.user).context("cannot change the user")?;
        Ok(())
    }
}

/// Checks that a process of this user and group may switch to `user` and `group`.
fn require_right((own_user, own_group): (Uid, Gid), user: Uid, group: Option<Gid>) -> Result<()> {
    if own_user.is_root() {
        return Ok(());
    }
    if user != own_user {
        bail!("only root can serve as another user; start as root, or leave out --user");
    }
    if group.is_some_and(|group| group != own_group) {
        bail!("only root can serve as another group; start as root, or leave out --group");
    }
    Ok(())
}

pub(crate) fn find_user(name: &str) -> Result<Uid> {
    let user = User::from_name(name)?.with_context(|| format!("no such user: {name:?}"))?;
    Ok(user.uid)
}

pub(crate) fn find_group(name: &str) -> Result<Gid> {
    let group = Group::from_name(name)?.with_context(|| format!("no such group: {name:?}"))?;
    Ok(group.gid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_may_switch_to_another_user_or_group() {
        let is_allowed = |own: u32, user: u32, group: Option<u32>| {
            let own = (Uid::from_raw(own), Gid::from_raw(own));
            require_right(own, Uid::from_raw(user), group.map(Gid::from_raw)).is_ok()
        };
        assert!(is_allowed(0, 7, Some(8)));
        assert!(is_allowed(7, 7, None));
        assert!(is_allowed(7, 7, Some(7)));
        assert!(!is_allowed(7, 8, None));
        assert!(!is_allowed(7, 0, None));
        assert!(!is_allowed(7, 7, Some(8)));
        assert!(!is_allowed(7, 7, Some(0)));
    }
}
