//! The request that a guest prints for.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::RequestId;

/// The request that a guest serves; the latest one, where it serves several. Clones share it.
#[derive(Clone)]
pub struct CurrentRequest {
    first: RequestId,
    /// `None` for the guest of one request, which then costs no allocation.
    latest: Option<Arc<Mutex<RequestId>>>,
}

impl CurrentRequest {
    /// Begins with `request`. Only where `others_may_follow`, [`set`](Self::set) has an effect.
    #[must_use]
    pub fn new(request: RequestId, others_may_follow: bool) -> Self {
        Self {
            first: request,
            latest: others_may_follow.then(|| Arc::new(Mutex::new(request))),
        }
    }

    /// Lines that begin from now on belong to `request`.
    pub fn set(&self, request: RequestId) {
        if let Some(latest) = &self.latest {
            *latest.lock() = request;
        }
    }

    pub(super) fn id(&self) -> RequestId {
        self.latest
            .as_ref()
            .map_or(self.first, |latest| *latest.lock())
    }
}
