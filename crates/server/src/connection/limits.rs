//! Limits that both versions of HTTP have.

/// Bytes of a request's header section, request line included. As much as Unit's default
/// buffers take. Beyond it: 431 in HTTP/1, a refused stream in HTTP/2. At most 100 fields are
/// accepted in HTTP/1, with the same answer.
pub const MAX_HEADER_SECTION: usize = 32 * 1024;
