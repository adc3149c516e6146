//! Orders to the task that drives an HTTP/1 connection: to gather small pieces of a request's body. The body's type
//! is known here only as [`Gather`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::{Mutex, MutexGuard};

/// The most pieces that are gathered in a row: meanwhile other connections of the thread wait.
pub(crate) const MAX_GATHERED: usize = 2048;

/// A request's body whose small pieces are gathered.
pub(crate) trait Gather: Send + Sync {
    /// Takes the piece that hyper has decoded, if there is one. Returns whether there may be another.
    fn gather(&self, cx: &mut Context<'_>) -> bool;

    /// Wakes the reader, which takes what has been gathered.
    fn finish(&self);
}

/// What the task that drives an HTTP/1 connection is to gather.
#[derive(Default)]
pub(crate) struct GatherOrders {
    ordered: Mutex<Ordered>,
    /// Of the task that drives the connection.
    driver: Mutex<Option<Waker>>,
    is_ordered: AtomicBool,
    is_gathering: AtomicBool,
}

#[derive(Default)]
enum Ordered {
    /// The connection is not driven here, so that readers must not wait for it.
    #[default]
    Refused,
    Nothing,
    Body(Arc<dyn Gather>),
}

impl GatherOrders {
    fn lock(&self) -> MutexGuard<'_, Ordered> {
        self.ordered.lock()
    }

    /// Orders the connection's task to decode further pieces. `false` if the connection is not one of HTTP/1, or has
    /// ended.
    pub(crate) fn order<B: Gather + 'static>(&self, body: &Arc<B>) -> bool {
        {
            let mut ordered = self.lock();
            if let Ordered::Refused = *ordered {
                return false;
            }
            *ordered = Ordered::Body(Arc::<B>::clone(body));
            self.is_ordered.store(true, Ordering::Release);
        }
        // hyper has woken that task when a piece was taken. On another thread it may have been polled since,
        // without having seen the order.
        if let Some(driver) = &*self.driver.lock() {
            driver.wake_by_ref();
        }
        true
    }

    /// Takes note of the task that drives the connection.
    pub(crate) fn set_driver(&self, driver: &Waker) {
        *self.driver.lock() = Some(driver.clone());
    }

    /// Accepts orders for as long as the returned value lives.
    pub(crate) fn accept(&self) -> Accepting<'_> {
        *self.lock() = Ordered::Nothing;
        Accepting(self)
    }

    /// Whether pieces are being gathered, so that guests need not be polled.
    pub(crate) fn is_gathering(&self) -> bool {
        self.is_gathering.load(Ordering::Relaxed)
    }
}

/// Held by the task that drives the connection.
pub(crate) struct Accepting<'a>(&'a GatherOrders);

impl Accepting<'_> {
    /// If pieces were ordered, calls `poll` until no further one comes, or until it is ready, and returns its
    /// last result. Guests have not been polled meanwhile, so everything has to be polled once more.
    pub(crate) fn gather<T>(
        &self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Option<Poll<T>> {
        if !self.0.is_ordered.load(Ordering::Acquire) {
            return None;
        }
        self.0.is_ordered.store(false, Ordering::Relaxed);
        let ordered = std::mem::replace(&mut *self.0.lock(), Ordered::Nothing);
        let Ordered::Body(body) = ordered else {
            return None;
        };
        self.0.is_gathering.store(true, Ordering::Relaxed);
        let mut polled = Poll::Pending;
        for _ in 0..MAX_GATHERED {
            polled = poll(cx);
            if polled.is_ready() || !body.gather(cx) {
                break;
            }
        }
        self.0.is_gathering.store(false, Ordering::Relaxed);
        body.finish();
        Some(polled)
    }
}

impl Drop for Accepting<'_> {
    fn drop(&mut self) {
        *self.0.driver.lock() = None;
        let ordered = std::mem::replace(&mut *self.0.lock(), Ordered::Refused);
        if let Ordered::Body(body) = ordered {
            body.finish();
        }
    }
}
