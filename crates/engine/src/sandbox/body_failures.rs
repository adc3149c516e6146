//! Why request bodies that a guest reads have failed. Kept per body, since WASI 0.2 asks for it after the
//! stream has ended.

use std::sync::{Arc, OnceLock};

use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

/// The bodies that a guest reads, by their handles, with the failure of each.
#[derive(Default)]
pub(crate) struct BodyFailures(Vec<(u32, BodyFailure)>);

/// Set when the body has failed.
pub(super) type BodyFailure = Arc<OnceLock<ErrorCode>>;

impl BodyFailures {
    pub(super) fn add(&mut self, body: u32) -> BodyFailure {
        let failure = BodyFailure::default();
        self.0.push((body, Arc::clone(&failure)));
        failure
    }

    pub(super) fn remove(&mut self, body: u32) -> Option<BodyFailure> {
        let index = self.0.iter().position(|(other, _)| *other == body)?;
        Some(self.0.swap_remove(index).1)
    }
}
