//! The state of one worker, which the callbacks of its context and its loop share. All of it stays on
//! one thread.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use crate::deferred_wakeups::DeferredWakeups;
use crate::port::{Port, WatchedPort};
use crate::process::Process;
use crate::request::Request;
use crate::response_memory::ResponseMemory;
use crate::worker_waker::WorkerWaker;

/// Consecutive failures of libunit that end the worker, and with it the process.
const MAX_FAILURES: u32 = 100;

pub(crate) struct Worker {
    process: Arc<Process>,
    number: usize,
    /// Messages for this context: request bodies, commands, replies.
    own_port: RefCell<Option<WatchedPort>>,
    /// New requests, for the first context of the application that takes them.
    shared_port: RefCell<Option<WatchedPort>>,
    /// Requests that libunit has delivered and the loop has not started.
    received: RefCell<VecDeque<Request>>,
    wakeups: DeferredWakeups,
    memory: Rc<ResponseMemory>,
    /// unitd has registered the context, so that it may take requests.
    ready: Cell<bool>,
    /// The shared queue may have requests that no message announces.
    check_queue: Cell<bool>,
    /// unitd has asked the context to quit.
    quit: Cell<bool>,
    /// Consecutive failures of libunit.
    failures: Cell<u32>,
    /// A callback has failed in a way that the worker cannot survive.
    failed: Cell<bool>,
}

impl Worker {
    pub(crate) fn new(process: Arc<Process>, number: usize) -> Rc<Self> {
        let memory = ResponseMemory::new(Arc::clone(&process.memory));
        Rc::new(Self {
            process,
            number,
            own_port: RefCell::default(),
            shared_port: RefCell::default(),
            received: RefCell::default(),
            wakeups: DeferredWakeups::default(),
            memory: Rc::new(memory),
            // Additional contexts get the shared port only after unitd has registered them.
            ready: Cell::new(number > 0),
            check_queue: Cell::new(false),
            quit: Cell::new(false),
            failures: Cell::new(0),
            failed: Cell::new(false),
        })
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    pub(crate) fn waker(&self) -> &WorkerWaker {
        self.process.waker(self.number)
    }

    pub(crate) fn wakeups(&self) -> &DeferredWakeups {
        &self.wakeups
    }

    pub(crate) fn memory(&self) -> &Rc<ResponseMemory> {
        &self.memory
    }

    pub(crate) fn push_request(&self, request: Request) {
        self.received.borrow_mut().push_back(request);
    }

    pub(crate) fn pop_request(&self) -> Option<Request> {
        self.received.borrow_mut().pop_front()
    }

    pub(crate) fn own_port(&self) -> Option<WatchedPort> {
        self.own_port.borrow().clone()
    }

    pub(crate) fn set_own_port(&self, port: WatchedPort) {
        *self.own_port.borrow_mut() = Some(port);
    }

    pub(crate) fn shared_port(&self) -> Option<WatchedPort> {
        self.shared_port.borrow().clone()
    }

    pub(crate) fn set_shared_port(&self, port: WatchedPort) {
        *self.shared_port.borrow_mut() = Some(port);
    }

    /// Stops watching the ports for which `is_removed` holds.
    pub(crate) fn remove_ports(&self, is_removed: impl Fn(&Port) -> bool) {
        for watched in [&self.own_port, &self.shared_port] {
            let mut watched = watched.borrow_mut();
            if watched
                .as_ref()
                .is_some_and(|watched| is_removed(watched.get_ref()))
            {
                *watched = None;
            }
        }
    }

    pub(crate) fn set_ready(&self) {
        self.ready.set(true);
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.get()
    }

    /// Whether unitd wants no more requests to be taken: it has removed the shared port.
    pub(crate) fn is_closing(&self) -> bool {
        self.ready.get() && self.shared_port.borrow().is_none()
    }

    pub(crate) fn set_quit(&self) {
        self.quit.set(true);
    }

    pub(crate) fn has_quit(&self) -> bool {
        self.quit.get()
    }

    /// Whether to look into the shared queue without a message that announces a request.
    pub(crate) fn set_check_queue(&self, check: bool) {
        self.check_queue.set(check);
    }

    pub(crate) fn checks_queue(&self) -> bool {
        self.check_queue.get()
    }

    /// Counts a call to libunit: failures in a row end the worker.
    pub(crate) fn count_call(&self, failed: bool) {
        let failures = if failed { self.failures.get() + 1 } else { 0 };
        self.failures.set(failures);
    }

    /// Ends the worker as failed.
    pub(crate) fn fail(&self) {
        // Not by `failures`, which the end of the call that this callback belongs to may reset.
        self.failed.set(true);
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.get() || self.failures.get() >= MAX_FAILURES
    }
}
