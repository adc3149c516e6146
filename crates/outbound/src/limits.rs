//! Limits on connections and on what a server may send. Those of one client can be set in [`Options`](crate::Options).

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of a response's header section; with HTTP/1 also the size of the read buffer.
pub(crate) const HEADER_BYTES: usize = 64 * 1024;
/// Fields of a response.
pub(crate) const HEADER_FIELDS: usize = 256;

/// A limit of connections that several clients share.
pub trait ConnectionBudget: fmt::Debug + Send + Sync {
    /// Allows one more connection, until what is returned is dropped; `None` at the limit. It is called before each
    /// connection is opened.
    fn try_acquire(self: Arc<Self>) -> Option<Box<dyn Any + Send + Sync>>;
}

/// How many connections may be open.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionLimit {
    own: Arc<Semaphore>,
    shared: Option<Arc<dyn ConnectionBudget>>,
}

/// Permits one connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    _own: OwnedSemaphorePermit,
    _shared: Option<Box<dyn Any + Send + Sync>>,
}

impl ConnectionLimit {
    pub(crate) fn new(own: usize, shared: Option<Arc<dyn ConnectionBudget>>) -> Self {
        let own = Arc::new(Semaphore::new(own.min(Semaphore::MAX_PERMITS)));
        Self { own, shared }
    }

    pub(crate) fn try_acquire(&self) -> Option<ConnectionPermit> {
        let own = Arc::clone(&self.own).try_acquire_owned().ok()?;
        let shared = match &self.shared {
            Some(budget) => Some(Arc::clone(budget).try_acquire()?),
            None => None,
        };
        Some(ConnectionPermit {
            _own: own,
            _shared: shared,
        })
    }
}
