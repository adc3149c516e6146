//! Limits on what a server may send, and on what a connection holds.

/// Bytes of a response's header section, and of its trailers; Unit's limit.
pub(crate) const HEADER_BYTES: usize = 64 * 1024;
/// Fields of a response, and of its trailers.
pub(crate) const HEADER_FIELDS: usize = 256;
/// Bytes that hyper has read and not yet passed on, and as many that it has taken and not yet written.
pub(crate) const CONNECTION_BUFFER: usize = 128 * 1024;
