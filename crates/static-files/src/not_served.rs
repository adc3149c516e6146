use std::io;

use http::StatusCode;

/// Why a share does not serve a request, in the words of a response.
///
/// What went wrong with which path is logged where it happened, and never told to the client.
#[derive(Debug, thiserror::Error)]
pub enum NotServed {
    /// Neither `GET` nor `HEAD`. The response must have `Allow` with [`NotServed::ALLOW`] (RFC 9110,
    /// section 15.5.6), which Unit's has not.
    #[error("a share is not for this method")]
    MethodNotAllowed,
    /// The last path is there, and may not be served: by the file system's permissions, by `chroot`,
    /// `follow_symlinks`, `traverse_mounts` or `types`, or because a variable had it climb.
    #[error("the file may not be served")]
    Forbidden,
    /// Nothing is at the last path, or nothing that is a file.
    #[error("there is no such file")]
    NotFound,
    /// The client takes the file neither as it is nor in a coding that is there. The response should
    /// have `Vary: Accept-Encoding`.
    #[error("the file is not there in a coding that the client takes")]
    NotAcceptable,
    /// As many files are open for responses as may be: see [`OpenFiles`](crate::OpenFiles).
    #[error("as many files are open as may be")]
    TooManyOpen,
    /// The system failed us, with the last path that was tried: out of descriptors or memory, a
    /// broken disk, a kernel without `openat2` for an option that needs it.
    #[error("a file could not be opened: {0}")]
    Failed(#[source] io::Error),
}

impl NotServed {
    /// The value of `Allow`.
    pub const ALLOW: &str = "GET, HEAD";

    /// What to answer where there is no `fallback`, or where it may not be taken.
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

    /// Whether `fallback` is taken. As in Unit, not where a file was found, nor after a failure of
    /// the system.
    #[must_use]
    pub fn may_fall_back(&self) -> bool {
        match self {
            Self::MethodNotAllowed | Self::Forbidden | Self::NotFound => true,
            Self::NotAcceptable | Self::TooManyOpen | Self::Failed(_) => false,
        }
    }
}
