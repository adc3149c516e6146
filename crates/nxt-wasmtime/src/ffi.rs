//! What holds of every function that C calls.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;

/// Runs the body of a function that C calls. A panic does not unwind into C: the log gets it, and C
/// gets `fallback`.
pub(crate) fn guard<T>(name: &str, fallback: T, body: impl FnOnce() -> T) -> T {
    // What a panic leaves half done is one request's, which is dropped, or the process's start,
    // which fails.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(_) => {
            // The panic's message is in the log already, from the panic hook.
            tracing::error!("a panic in {name} has been stopped; this is a defect of the module");
            fallback
        }
    }
}

/// The bytes that C says there are. `(NULL, 0)` is a way of C's to say none.
///
/// # Safety
///
/// Unless `length` is 0, `start` must be good for reading `length` bytes, which nobody may change
/// while the slice lives.
pub(crate) unsafe fn bytes<'a>(start: *const u8, length: usize) -> &'a [u8] {
    if start.is_null() || length == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(start, length) }
}
