//! Why files cannot be read as a configuration.

use std::io;
use std::path::{Path, PathBuf};

use certificates::{BundleError, NameError};
use config::{JsonError, Location};
use thiserror::Error;

use crate::{MAX_NAMES, MAX_SIZE};

/// Files that cannot be read as a configuration.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The system refused it: no such file, no permission, a loop of symbolic links.
    #[error("cannot read {path:?}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A device, a pipe or a socket.
    #[error("{0:?} is neither a file nor a folder")]
    NotAFile(PathBuf),
    /// The folder has none of the files that could be a configuration.
    #[error("{0:?} has no file whose name ends with .json")]
    NoConfiguration(PathBuf),
    /// Too many names in the folder.
    #[error("{0:?} has more than {MAX_NAMES} files")]
    TooMany(PathBuf),
    /// The files are larger than [`MAX_SIZE`] together.
    #[error("{0:?}: the configuration is larger than {MAX_SIZE} bytes")]
    TooLarge(PathBuf),
    /// The certificates are larger than [`MAX_SIZE`] together.
    #[error("{0:?}: the certificates are larger than {MAX_SIZE} bytes together")]
    CertificatesTooLarge(PathBuf),
    /// A certificate's name is not UTF-8.
    #[error("{0:?}: the name of a certificate has to be UTF-8")]
    NotText(PathBuf),
    /// Not JSON.
    #[error("{path:?}, {error}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        error: JsonError,
    },
    /// One of several files that has something else than an object.
    #[error("{0:?} is not an object, as files of a folder have to be")]
    NotAnObject(PathBuf),
    /// Two files have the same member.
    #[error("{second}: {member:?} is also in {first}")]
    Duplicate {
        /// The member's path.
        member: String,
        /// The place where it is first.
        first: String,
        /// The place where it is again.
        second: String,
    },
    /// The name of a certificate's file is not valid for a certificate.
    #[error("{path:?}: {error}")]
    CertificateName {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: NameError,
    },
    /// Not a certificate chain with its key.
    #[error("{path:?}: {error}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: BundleError,
    },
}

/// A place in a file, as in `"/etc/a.json", line 3, column 14`.
pub(crate) fn place(path: &Path, location: Option<Location>) -> String {
    let location = location.map_or_else(String::new, |location| format!(", {location}"));
    format!("{path:?}{location}")
}
