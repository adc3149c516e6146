//! What a share is configured with, except for its paths.

use std::fmt;
use std::sync::Arc;

use crate::mime_types::MimeTypes;

/// What an action of the kind `share` is configured with, but for the paths. Its defaults are
/// Unit's.
#[derive(Clone)]
pub struct Options {
    /// The file that stands for its folder: added to a path that ends in `/`. By default
    /// `index.html`. Empty, folders are not found (404).
    pub index: String,
    /// Whether symbolic links are followed: by default yes, wherever they lead. Without, a path
    /// with a link in it, anywhere, is forbidden (403). With a `chroot`, only what is below it
    /// counts.
    pub follow_symlinks: bool,
    /// Whether mount points are crossed: by default yes. Without, a path that leads into another
    /// file system than it begins in, which is `/`, the working folder, or `chroot`, is forbidden
    /// (403).
    pub traverse_mounts: bool,
    /// Which files are served, by their types: by default all.
    ///
    /// As in Unit, it is the type of the path's extension that is asked about, before the file is
    /// looked for. Unlike in Unit, that holds for an index, too. `""` is asked where there is no type,
    /// which is the case for folders without their slash: to see them redirected, `types` must accept
    /// `""`.
    pub types: Option<TypeFilter>,
    /// Which type a file has.
    pub mime_types: Arc<MimeTypes>,
    /// Whether siblings with the suffix `.br`, `.zst` or `.gz` are sent to clients that accept
    /// Brotli, Zstandard or Gzip. By default no, since Unit does not; it costs up to three `openat2`
    /// in a request that accepts these. A sibling that is older than its file is taken to be out of
    /// date, and passed over.
    pub precompressed: bool,
}

/// Says whether files of a MIME type are served. It is called in the middle of a request, so it
/// must not block.
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
