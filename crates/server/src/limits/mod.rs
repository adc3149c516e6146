//! Limits that all requests share.

mod held_uploads;
mod share_files;
mod upstreams;

pub(crate) use held_uploads::HeldUploads;
pub use held_uploads::MAX_HELD;
pub(crate) use share_files::ShareFiles;
pub(crate) use upstreams::UpstreamConnections;
