//! Which request a guest prints for.

use std::sync::{Arc, Mutex, PoisonError};

use crate::RequestId;

/// Whose request a guest works for when it prints: of an instance that serves several, the latest.
#[derive(Clone)]
pub struct Speaker {
    first: RequestId,
    /// Only where there may be others.
    latest: Option<Arc<Mutex<RequestId>>>,
}

impl Speaker {
    /// A guest that works for `request`. Where `others_may_follow`, [`set`](Self::set) says which.
    #[must_use]
    pub fn new(request: RequestId, others_may_follow: bool) -> Self {
        Self {
            first: request,
            latest: others_may_follow.then(|| Arc::new(Mutex::new(request))),
        }
    }

    /// From now on the guest works for `request`.
    pub fn set(&self, request: RequestId) {
        if let Some(latest) = &self.latest {
            *latest.lock().unwrap_or_else(PoisonError::into_inner) = request;
        }
    }

    pub(super) fn request(&self) -> RequestId {
        self.latest.as_ref().map_or(self.first, |latest| {
            *latest.lock().unwrap_or_else(PoisonError::into_inner)
        })
    }
}
