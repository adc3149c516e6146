//! Limits that several of these bodies share.

/// Bytes of a body that are read before its head is sent. The piece that reaches this is the last one that is read.
pub const READ_AHEAD: u64 = 64 * 1024;
