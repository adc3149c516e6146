//! The search for a file: the paths of `share`, the index, and precompressed siblings.

use std::borrow::Cow;
use std::fs::File;
use std::io;

use http::{HeaderMap, HeaderValue};
use rustix::fs::{FileType, ResolveFlags};
use rustix::io::Errno;

use crate::coding::Accepted;
use crate::open::{OpenError, Place, Wait};
use crate::path::{self, ExpandedPath};
use crate::validators::{Modified, Validators};
use crate::{NotServed, Options};

/// The search for the file of one request.
pub(crate) struct Search<'a> {
    pub(crate) options: &'a Options,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) chroot: &'a ExpandedPath,
    pub(crate) wait: Wait,
}

/// The file or folder at a path.
pub(crate) enum Found {
    File(FoundFile),
    /// A folder, at a path without a trailing slash.
    Folder,
}

pub(crate) struct FoundFile {
    pub(crate) file: File,
    pub(crate) validators: Validators,
    pub(crate) content_type: Option<HeaderValue>,
    /// Whether the response depends on `Accept-Encoding`.
    pub(crate) varies: bool,
}

/// Why a search ends without a file.
#[derive(Debug)]
pub(crate) enum Stop {
    NotServed(NotServed),
    /// The path at this index can only be looked up by blocking.
    WouldWait {
        at: usize,
    },
}

impl Search<'_> {
    /// The first file or folder that exists, from the path at index `from` on.
    pub(crate) fn first(&self, paths: &[ExpandedPath], from: usize) -> Result<Found, Stop> {
        let mut reason = NotServed::NotFound;
        for (at, path) in paths.iter().enumerate().skip(from) {
            match self.at(path) {
                Ok(found) => return Ok(found),
                Err(Miss::WouldWait) => return Err(Stop::WouldWait { at }),
                Err(Miss::Next(next)) => reason = next,
                Err(Miss::Final(reason)) => return Err(Stop::NotServed(reason)),
            }
        }
        Err(Stop::NotServed(reason))
    }

    fn at(&self, share: &ExpandedPath) -> Result<Found, Miss> {
        if share.climbs() || self.chroot.climbs() {
            tracing::error!(
                "\"{}\" is refused: a variable has expanded to a path with \"..\"",
                shown(share.as_bytes())
            );
            return Err(Miss::Next(NotServed::Forbidden));
        }
        let share = share.as_bytes();
        let is_folder = share.last() == Some(&b'/');
        let full = if is_folder {
            Cow::Owned([share, self.options.index.as_bytes()].concat())
        } else {
            Cow::Borrowed(share)
        };
        let (text, content_type) = self.options.mime_types.of(&full);
        // `types` hold for an index, too: in Unit, a folder's URI serves a file that its own URI does not. Without
        // an index, a folder is not found.
        let names_file = !is_folder || !self.options.index.is_empty();
        if let Some(types) = &self.options.types
            && names_file
            && !types(text)
        {
            return Err(Miss::Next(NotServed::Forbidden));
        }
        let (place, name) = self.place(&full)?;
        let file = place.open(name).map_err(|error| miss(error, &full))?;
        let status = rustix::fs::fstat(&file).map_err(|errno| failed(errno, &full))?;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory if !is_folder => return Ok(Found::Folder),
            _ => {
                tracing::error!("\"{}\" is not a regular file", shown(&full));
                return Err(Miss::Next(NotServed::NotFound));
            }
        }
        let found = FoundFile {
            file,
            validators: Validators {
                modified: Modified::of(&status),
                size: u64::try_from(status.st_size).unwrap_or(0),
                coding: None,
            },
            content_type: content_type.cloned(),
            varies: self.options.precompressed,
        };
        if self.options.precompressed {
            return self.sibling(&place, name, found).map(Found::File);
        }
        Ok(Found::File(found))
    }

    /// The place to look a path up, and the name there.
    ///
    /// Unit compares a path without variables with `chroot` before it adds the index, and so never finds the index of
    /// `chroot` itself. Unit's documentation does not mention that, and this server finds it.
    fn place<'p>(&self, full: &'p [u8]) -> Result<(Place, &'p [u8]), Miss> {
        let mut resolve = ResolveFlags::empty();
        if !self.options.follow_symlinks {
            resolve |= ResolveFlags::NO_SYMLINKS;
        }
        if !self.options.traverse_mounts {
            resolve |= ResolveFlags::NO_XDEV;
        }
        let chroot = self.chroot.as_bytes();
        if chroot.is_empty() {
            return Ok((Place::anywhere(resolve, self.wait), full));
        }
        let Some(name) = path::below(chroot, full) else {
            return Err(miss(OpenError::System(Errno::ACCESS), full));
        };
        let place =
            Place::below(chroot, resolve, self.wait).map_err(|error| miss(error, chroot))?;
        Ok((place, name))
    }

    /// The best precompressed sibling that the client accepts, or else the file itself.
    fn sibling(&self, place: &Place, name: &[u8], found: FoundFile) -> Result<FoundFile, Miss> {
        let Some(accepted) = Accepted::of(self.headers) else {
            return Ok(found);
        };
        for coding in accepted.preferred() {
            let file = match place.open(&[name, coding.suffix()].concat()) {
                Ok(file) => file,
                Err(OpenError::WouldWait) => return Err(Miss::WouldWait),
                // Siblings are optional, so a missing one is not logged.
                Err(OpenError::System(_)) => continue,
            };
            let Ok(status) = rustix::fs::fstat(&file) else {
                continue;
            };
            let is_file = FileType::from_raw_mode(status.st_mode) == FileType::RegularFile;
            let modified = Modified::of(&status);
            if is_file && modified.is_up_to_date_with(&found.validators.modified) {
                return Ok(FoundFile {
                    file,
                    validators: Validators {
                        modified,
                        size: u64::try_from(status.st_size).unwrap_or(0),
                        coding: Some(coding),
                    },
                    ..found
                });
            }
        }
        if accepted.identity() {
            Ok(found)
        } else {
            Err(Miss::Final(NotServed::NotAcceptable))
        }
    }
}

/// Why a path is not served.
enum Miss {
    /// Try the next path.
    Next(NotServed),
    /// Do not try other paths.
    Final(NotServed),
    WouldWait,
}

/// The status of an error, and whether it is logged; both as in Unit.
fn miss(error: OpenError, path: &[u8]) -> Miss {
    match error {
        OpenError::WouldWait => Miss::WouldWait,
        // ENXIO: a Unix domain socket.
        OpenError::System(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::NXIO) => {
            Miss::Next(NotServed::NotFound)
        }
        OpenError::System(errno @ (Errno::ACCESS | Errno::LOOP | Errno::XDEV)) => {
            tracing::error!("opening \"{}\" failed ({errno})", shown(path));
            Miss::Next(NotServed::Forbidden)
        }
        OpenError::System(errno) => failed(errno, path),
    }
}

fn failed(errno: Errno, path: &[u8]) -> Miss {
    tracing::error!("opening \"{}\" failed ({errno})", shown(path));
    Miss::Final(NotServed::Failed(io::Error::from(errno)))
}

/// A path for the log, escaped so that it cannot forge another line.
fn shown(path: &[u8]) -> impl std::fmt::Display {
    path.escape_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_end_the_search() {
        for errno in [
            Errno::MFILE,
            Errno::NOMEM,
            Errno::IO,
            Errno::NOSYS,
            Errno::PERM,
        ] {
            let miss = miss(OpenError::System(errno), b"/a");
            assert!(
                matches!(miss, Miss::Final(NotServed::Failed(error)) if error.raw_os_error() == Some(errno.raw_os_error()))
            );
        }
    }

    #[test]
    fn a_path_cannot_forge_another_line_of_the_log() {
        assert_eq!(
            shown(b"/a\n2026/01/01 [alert] \"\xff").to_string(),
            r#"/a\n2026/01/01 [alert] \"\xff"#
        );
    }
}
