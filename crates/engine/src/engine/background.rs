//! The background: a runtime for guests that compute for long, with a fair queue. Which guests are offloaded to
//! it is decided in [`run`](crate::run).

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::scheduling::cpu_share::CpuShare;
use crate::scheduling::fair_queue::{BackgroundTurn, FairQueue};
use crate::scheduling::stopwatch::Stopwatch;

/// The runtime to which guests are offloaded.
#[derive(Clone)]
pub(crate) struct Background {
    runtime: Handle,
    queue: Arc<FairQueue>,
}

impl Background {
    pub(crate) fn new(runtime: Handle) -> Self {
        let queue = FairQueue::new(runtime.metrics().num_workers());
        Self { runtime, queue }
    }

    /// Spawns a task there. It has to poll guests through an [`OffloadedGuest`].
    pub(crate) fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime.spawn(task)
    }

    /// For a guest of the application that `cpu` belongs to. Called in the runtime that the guest comes from.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub(crate) fn guest(&self, cpu: &Arc<CpuShare>) -> OffloadedGuest {
        OffloadedGuest {
            home: Handle::current(),
            turn: BackgroundTurn::new(Arc::clone(&self.queue), Arc::clone(cpu)),
        }
    }
}

/// A guest in the background: its turns in the fair queue, and the runtime that it comes from. What the guest
/// begins in the background still belongs to that runtime: its timers, and connections that other guests may
/// use later.
pub(crate) struct OffloadedGuest {
    home: Handle,
    turn: BackgroundTurn,
}

impl OffloadedGuest {
    /// Polls the guest when it is its turn.
    pub(crate) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        stopwatch: &mut Stopwatch,
        compute: impl FnOnce(&mut Context<'_>, &mut Stopwatch) -> Poll<T>,
    ) -> Poll<T> {
        ready!(self.turn.poll_begin(cx));
        let _at_home = self.home.enter();
        let polled = compute(cx, stopwatch);
        self.turn.finish(stopwatch.last());
        polled
    }
}
