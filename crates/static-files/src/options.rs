//! What a share is configured with, except for its paths.

use std::fmt;
use std::sync::Arc;

use crate::mime_types::MimeTypes;

/// The options of a share, except for its paths. The defaults are Unit's.
#[derive(Clone)]
pub struct Options {
    /// The name that is added to a path that ends in `/`. Default: `index.html`. If empty, folders are not found
    /// (404).
    pub index: String,
    /// Whether symlinks are followed. Default: yes, to anywhere. If not, a path with a symlink in any place is
    /// forbidden (403); with a `chroot`, in any place below it.
    pub follow_symlinks: bool,
    /// Whether mount points are crossed. Default: yes. If not, a path that leaves the file system of its start
    /// (`/`, the working folder, or `chroot`) is forbidden (403).
    pub traverse_mounts: bool,
    /// Which MIME types are served. Default: all.
    ///
    /// As in Unit, the type is that of the path's extension, and checked before the file is looked up. Unlike in
    /// Unit, an index is checked, too. The type is `""` if it is unknown, and for folders without their slash: to
    /// redirect those, `types` must accept `""`.
    pub types: Option<TypeFilter>,
    /// The MIME types of files.
    pub mime_types: Arc<MimeTypes>,
    /// Whether precompressed siblings with the suffix `.br`, `.zst` or `.gz` are sent to clients that accept
    /// Brotli, Zstandard or Gzip. Default: no, as Unit has no such option. Costs up to three `openat2` per request
    /// that accepts these. Siblings that are older than their file are out of date, and skipped.
    pub precompressed: bool,
}

/// Whether files of a MIME type are served. Called for each request; must not block.
pub type TypeFilter = Arc<dyn Fn(&str) -> bool + Send + Sync>;

impl Default for Options {
    fn default() -> Self {
        Self {
            index: "index.html".to_owned(),
            follow_symlinks: true,
            traverse_mounts: true,
            types: None,
            mime_types: Arc::default(),
            precompressed: false,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("index", &self.index)
            .field("follow_symlinks", &self.follow_symlinks)
            .field("traverse_mounts", &self.traverse_mounts)
            .field("types", &self.types.is_some())
            .field("precompressed", &self.precompressed)
            .finish_non_exhaustive()
    }
}
