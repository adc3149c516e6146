//! What the workers of an application process share.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use engine::{Application, Engine, Output, OutputFile, Settings};
use tokio::sync::watch;
use unit_app::Options;

use crate::configuration::Configuration;
use crate::prototype::Prototype;
use crate::shared_memory::SharedMemory;
use crate::worker_waker::Bell;

/// What the workers of a process share.
pub(crate) struct Process {
    pub(crate) engine: Engine,
    pub(crate) application: Application,
    pub(crate) options: Options,
    pub(crate) memory: SharedMemory,
    /// Requests that one worker has in progress at a time. Those that it does not take stay in
    /// Unit's queue, for other workers and processes.
    pub(crate) requests_per_worker: usize,
    pub(crate) bells: Vec<Bell>,
    /// How often a worker has asked for another that sleeps.
    calls: AtomicU64,
    /// Workers that take and serve requests.
    pub(crate) at_work: AtomicUsize,
    /// All are to end at once.
    must_end: AtomicBool,
    /// Their runtimes may go, too.
    pub(crate) closed: watch::Sender<bool>,
}

impl Process {
    pub(crate) fn new(prototype: &Prototype) -> Result<Self, String> {
        let Prototype {
            configuration,
            options,
            image,
        } = prototype;
        let name = &configuration.name;
        unit_app::look_into(&configuration.directories)
            .map_err(|error| format!("application {name:?}: {error}"))?;
        let engine = Engine::new(&engine::Options {
            sole_application: true,
            ..engine::Options::default()
        });
        let engine = engine.map_err(|error| error.to_string())?;
        let component = image.load(&engine, &configuration.component)?;
        let settings = Settings {
            environment: configuration.environment.clone(),
            directories: configuration.directories.clone(),
            outbound: options.outbound.clone(),
            authority: options.authority,
            instances: options.instances,
            limits: options.limits.clone(),
            stdout: stdout(configuration)?,
            ..Settings::new(name.as_str())
        };
        let workers = options
            .threads
            .or_else(|| thread::available_parallelism().ok())
            .map_or(1, usize::from);
        let instances = usize::try_from(engine.instances()).unwrap_or(usize::MAX);
        Ok(Self {
            application: Application::new(engine.clone(), component, settings),
            options: options.clone(),
            memory: SharedMemory::new(configuration.shared_memory, instances),
            requests_per_worker: (instances / workers).max(1),
            bells: (0..workers).map(|_| Bell::default()).collect(),
            calls: AtomicU64::new(0),
            at_work: AtomicUsize::new(0),
            must_end: AtomicBool::new(false),
            closed: watch::Sender::new(false),
            engine,
        })
    }

    pub(crate) fn bell(&self, worker: usize) -> &Bell {
        // Workers are numbered by the bells.
        &self.bells[worker]
    }

    /// Wakes one worker that sleeps, if any does.
    pub(crate) fn ring_another(&self) {
        if self.bells.len() > 1 {
            self.calls.fetch_add(1, Ordering::SeqCst);
            let _ = self.bells.iter().any(Bell::ring);
        }
    }

    /// How often [`ring_another`](Self::ring_another) has been called.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Ends all workers, with the requests that they have.
    pub(crate) fn end(&self) {
        if !self.must_end.swap(true, Ordering::SeqCst) {
            self.bells.iter().for_each(Bell::wake);
        }
    }

    /// The same, since nobody takes their responses any more: the next router has other queues.
    pub(crate) fn end_without_router(&self) {
        if !self.must_end() {
            tracing::warn!("Unit's router is gone, and the process ends");
            self.end();
        }
    }

    pub(crate) fn must_end(&self) -> bool {
        self.must_end.load(Ordering::SeqCst)
    }
}

/// Where guests' standard output goes. Their standard error needs no such thing: it goes to the log,
/// which is the process's standard error, which Unit makes the file of `stderr`.
fn stdout(configuration: &Configuration) -> Result<Output, String> {
    if !configuration.has_stdout {
        return Ok(Output::Log);
    }
    // Unit has opened the file in this process, before `start()`.
    let own = io::stdout().as_fd().try_clone_to_owned();
    let file = own.map_err(|error| {
        let name = &configuration.name;
        format!("application {name:?}: its standard output: {error}")
    })?;
    let file = OutputFile::inherited("standard output", file.into());
    Ok(Output::File(file))
}
