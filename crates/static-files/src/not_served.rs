//! Why a request is not served, and the status for it.

use std::io;

use http::StatusCode;

/// Why a share does not serve a request.
///
/// Paths and system errors are logged, and not for the client.
#[derive(Debug, thiserror::Error)]
pub enum NotServed {
    /// Neither `GET` nor `HEAD`. The response must have `Allow` with [`NotServed::ALLOW`] (RFC 9110,
    /// section 15.5.6), which Unit omits.
    #[error("files are served for GET and HEAD only")]
    MethodNotAllowed,
    /// The last path is forbidden: by permissions, `chroot`, `follow_symlinks`, `traverse_mounts` or `types`, or as
    /// path traversal by a variable.
    #[error("access to the file is forbidden")]
    Forbidden,
    /// The last path does not exist, or is not a file.
    #[error("there is no such file")]
    NotFound,
    /// The client accepts neither the uncompressed file nor a precompressed sibling that exists. The response should
    /// have `Vary: Accept-Encoding`.
    #[error("no content coding of the file is acceptable to the client")]
    NotAcceptable,
    /// The limit on open files is reached: see [`OpenFiles`](crate::OpenFiles).
    #[error("the limit on open files is reached")]
    TooManyOpen,
    /// A system error: out of descriptors or memory, a broken disk, or a kernel without `openat2` for an option that
    /// needs it.
    #[error("opening a file failed: {0}")]
    Failed(#[source] io::Error),
}

impl NotServed {
    /// The value of `Allow`.
    pub const ALLOW: &str = "GET, HEAD";

    /// The status if there is no `fallback`, or it does not apply.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::TooManyOpen => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether `fallback` applies. As in Unit, not if a file was found, and not after a system error.
    #[must_use]
    pub fn may_fall_back(&self) -> bool {
        match self {
            Self::MethodNotAllowed | Self::Forbidden | Self::NotFound => true,
            Self::NotAcceptable | Self::TooManyOpen | Self::Failed(_) => false,
        }
    }
}
