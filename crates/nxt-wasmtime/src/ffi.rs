//! What all functions that C calls need: a stop for panics, and slices of C's memory.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;

/// Runs the body of a function that C calls. A panic does not unwind into C: it is logged, and C gets
/// `fallback`.
pub(crate) fn guard<T>(name: &str, fallback: T, body: impl FnOnce() -> T) -> T {
    // Unwind safe: what a panic leaves half done belongs to one request, which is dropped, or to the
    // start of the process, which fails.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(_) => {
            // The panic hook has logged the panic's message.
            tracing::error!("caught a panic in {name}; this is a bug in the module");
            fallback
        }
    }
}

/// `length` bytes of C's memory. C also writes `(NULL, 0)` for an empty slice.
///
/// # Safety
///
/// Unless `length` is 0, `start` must be valid for reads of `length` bytes, which nothing may change
/// while the slice lives.
pub(crate) unsafe fn bytes<'a>(start: *const u8, length: usize) -> &'a [u8] {
    if start.is_null() || length == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(start, length) }
}
