//! What the callbacks of one context, its requests and its loop share.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use crate::deferred_wakeups::Notices;
use crate::port::{Port, Watch, watch};
use crate::process::Process;
use crate::request::Request;
use crate::worker_waker::Bell;

/// Failures of libunit in a row that end the worker, and with it the process.
pub(crate) const MAX_FAILURES: u32 = 100;

/// What the callbacks of one context, its requests and its loop share. All of them are on one
/// thread.
pub(crate) struct Worker {
    process: Arc<Process>,
    number: usize,
    /// Messages for this context: contents, ends, answers.
    own_port: RefCell<Option<Watch>>,
    /// New requests, for whichever context of the application takes them first.
    pub(crate) shared_port: RefCell<Option<Watch>>,
    pub(crate) arrived: RefCell<VecDeque<Request>>,
    pub(crate) notices: Notices,
    /// Who waits for shared memory.
    writers: RefCell<Vec<Waker>>,
    /// unitd knows the context, so that it may take requests.
    pub(crate) ready: Cell<bool>,
    /// There may be requests that nobody tells of again.
    pub(crate) look: Cell<bool>,
    /// unitd wants the context to end.
    pub(crate) ended: Cell<bool>,
    /// Failures of libunit in a row.
    pub(crate) failures: Cell<u32>,
}

impl Worker {
    pub(crate) fn new(process: Arc<Process>, number: usize) -> Rc<Self> {
        Rc::new(Self {
            process,
            number,
            own_port: RefCell::default(),
            shared_port: RefCell::default(),
            arrived: RefCell::default(),
            notices: Notices::default(),
            writers: RefCell::default(),
            // Further contexts get to see the shared port only when unitd knows them.
            ready: Cell::new(number > 0),
            look: Cell::new(false),
            ended: Cell::new(false),
            failures: Cell::new(0),
        })
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    pub(crate) fn notices(&self) -> &Notices {
        &self.notices
    }

    /// The watch on the context's own port.
    pub(crate) fn own_port(&self) -> Option<Watch> {
        self.own_port.borrow().clone()
    }

    /// Libunit cannot go on.
    pub(crate) fn fail(&self) {
        self.failures.set(MAX_FAILURES);
    }

    /// Wakes a task when there may be shared memory.
    pub(crate) fn wait_for_memory(&self, waker: &Waker) {
        let mut writers = self.writers.borrow_mut();
        if !writers.iter().any(|writer| writer.will_wake(waker)) {
            writers.push(waker.clone());
        }
    }

    // What the callbacks have to say.

    pub(crate) fn arrived(&self, request: Request) {
        self.arrived.borrow_mut().push_back(request);
    }

    /// Watches the context's own port. Must be called inside the worker's runtime.
    pub(crate) fn watch_own_port(&self, port: Port) -> io::Result<()> {
        *self.own_port.borrow_mut() = Some(watch(port)?);
        Ok(())
    }

    /// Watches the application's shared port. Must be called inside the worker's runtime.
    pub(crate) fn watch_shared_port(&self, port: Port) -> io::Result<()> {
        *self.shared_port.borrow_mut() = Some(watch(port)?);
        Ok(())
    }

    /// Stops watching the ports that are meant.
    pub(crate) fn remove_ports(&self, is_meant: impl Fn(&Port) -> bool) {
        for watched in [&self.own_port, &self.shared_port] {
            let mut watched = watched.borrow_mut();
            if watched
                .as_ref()
                .is_some_and(|watch| is_meant(watch.get_ref()))
            {
                *watched = None;
            }
        }
    }

    pub(crate) fn process_is_ready(&self) {
        self.ready.set(true);
    }

    pub(crate) fn end(&self) {
        self.ended.set(true);
    }

    pub(crate) fn memory_came(&self) {
        for writer in self.writers.take() {
            writer.wake();
        }
    }

    /// Whether unitd wants no more requests to be taken.
    pub(crate) fn is_closing(&self) -> bool {
        self.ready.get() && self.shared_port.borrow().is_none()
    }

    pub(crate) fn next_arrived(&self) -> Option<Request> {
        self.arrived.borrow_mut().pop_front()
    }

    pub(crate) fn has_writers(&self) -> bool {
        !self.writers.borrow().is_empty()
    }

    pub(crate) fn bell(&self) -> &Bell {
        self.process.bell(self.number)
    }
}
