//! A configuration from files: one file, or a folder whose files are merged.
//!
//! ```text
//! Source ──look──▶ Look (compared with an earlier one: has anything changed?)
//!        ──read──▶ Files { tree, certificates } ──place──▶ file, line and column of an error
//! ```
//!
//! In a folder, `*.json` are merged in the order of their names, and `*.pem` are certificates with the names of their
//! files. Symbolic links are followed, so that a folder may be one that Kubernetes mounts from a ConfigMap. Hidden
//! files and folders in the folder are not read.
//!
//! Nothing here watches: the caller [looks](Source::look) again to find changes. That also works where
//! inotify(7) does not (network and overlay file systems, a mounted single file, a machine whose limit of inotify
//! instances is used up), and costs one stat(2) for each file.
//!
//! This crate does not know what a configuration means, nor how it is put in force. All calls block.

mod error;
mod files;
mod merge;
mod read;
mod source;
mod stamp;

pub use error::ReadError;
pub use files::Files;
pub use source::{Look, Source};
pub use stamp::Stamp;

/// Maximum size of all `*.json` together, in bytes, which is that of a body in the control API; and of all `*.pem`.
pub const MAX_SIZE: u64 = 16 << 20;

/// Maximum number of names in a folder, those that are not read included.
pub const MAX_NAMES: usize = 10_000;
