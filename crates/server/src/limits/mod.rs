//! Limits that all requests share.

pub(crate) mod held_uploads;
pub(crate) mod share_files;
