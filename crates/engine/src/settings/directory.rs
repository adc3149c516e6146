//! Which folders guests may use. Opening them is for the sandbox.

use std::fs;
use std::path::PathBuf;

/// A folder that guests may use, with everything in it.
///
/// It is looked up for each instance; while it is missing, requests end in
/// [`Failure::Instantiate`](crate::Failure::Instantiate). Symbolic links in `host` are resolved once, when the
/// [`Application`](crate::Application) is made, and refused from then on: a guest that can write to a parent
/// folder could otherwise redirect this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// The path on the host.
    pub host: PathBuf,
    /// The path that guests see.
    pub guest: String,
    /// Whether guests may change anything in it.
    pub access: Access,
}

/// What guests may do with a [`Directory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading files and listing folders. Anything else fails with `read-only` or `not-permitted`.
    ReadOnly,
    /// Everything that the user of the process may do.
    ReadWrite,
}

impl Directory {
    /// Resolves symbolic links in the path on the host, once. Where that fails, the path stays as it is, and no
    /// instance can be made while a link is in it.
    pub(crate) fn follow_links(&mut self) {
        if let Ok(path) = fs::canonicalize(&self.host) {
            self.host = path;
        }
    }
}
