//! The state that the workers of an application process share. How they live and end is in
//! `lifecycle`.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use engine::{Application, Engine, Output, OutputFile, Settings};
use tokio::sync::watch;
use unit_app::Options;

use crate::configuration::Configuration;
use crate::prototype::Prototype;
use crate::shared_memory::SharedMemory;
use crate::worker_waker::WorkerWaker;

pub(crate) struct Process {
    pub(crate) engine: Engine,
    pub(crate) application: Application,
    pub(crate) options: Options,
    pub(crate) memory: Arc<SharedMemory>,
    /// Concurrent requests of one worker. Those beyond stay in Unit's queue, for other workers and
    /// processes.
    pub(crate) requests_per_worker: usize,
    /// One for each worker.
    wakers: Vec<WorkerWaker>,
    /// How often a worker has tried to wake an idle one.
    idle_wakeups: AtomicU64,
    /// Additional workers that take and serve requests.
    pub(crate) serving: AtomicUsize,
    /// All workers end at once, without finishing their requests.
    ending: AtomicBool,
    /// Set when the main worker has ended: the other workers may drop their runtimes, too.
    pub(crate) closed: watch::Sender<bool>,
}

impl Process {
    /// # Errors
    ///
    /// As one sentence for the log, when a folder of `access.filesystem` cannot be used, the image
    /// cannot be mapped, or the system is out of resources.
    pub(crate) fn new(prototype: &Prototype) -> Result<Self, String> {
        let Prototype {
            configuration,
            options,
            image,
        } = prototype;
        let name = &configuration.name;
        unit_app::check_access(&configuration.directories)
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
            memory: Arc::new(SharedMemory::new(configuration.shared_memory, instances)),
            requests_per_worker: (instances / workers).max(1),
            wakers: (0..workers).map(|_| WorkerWaker::default()).collect(),
            idle_wakeups: AtomicU64::new(0),
            serving: AtomicUsize::new(0),
            ending: AtomicBool::new(false),
            closed: watch::Sender::new(false),
            engine,
        })
    }

    pub(crate) fn workers(&self) -> usize {
        self.wakers.len()
    }

    pub(crate) fn waker(&self, worker: usize) -> &WorkerWaker {
        // Workers are numbered from 0 to `workers()`, exclusive.
        &self.wakers[worker]
    }

    /// Wakes one idle worker, if there is one, to look for requests.
    pub(crate) fn wake_idle(&self) {
        if self.wakers.len() > 1 {
            // Counted first: a worker that is about to become idle compares the counts.
            self.idle_wakeups.fetch_add(1, Ordering::SeqCst);
            let _ = self.wakers.iter().any(WorkerWaker::wake_if_idle);
        }
    }

    /// How often [`wake_idle`](Self::wake_idle) has been called.
    pub(crate) fn idle_wakeups(&self) -> u64 {
        self.idle_wakeups.load(Ordering::SeqCst)
    }

    /// Ends all workers at once, and cuts their requests off.
    pub(crate) fn end(&self) {
        if !self.ending.swap(true, Ordering::SeqCst) {
            self.wakers.iter().for_each(WorkerWaker::wake);
        }
    }

    /// Ends all workers because Unit's router has exited: nothing can receive their responses, as the
    /// next router has other queues.
    pub(crate) fn end_without_router(&self) {
        if !self.is_ending() {
            tracing::warn!("Unit's router has exited; ending this application process");
            self.end();
        }
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }
}

/// Where guests' standard output goes. Their standard error always goes to the log. The log is this process's
/// standard error, which Unit redirects to the file of `stderr`.
fn stdout(configuration: &Configuration) -> Result<Output, String> {
    if !configuration.has_stdout {
        return Ok(Output::Log);
    }
    // Unit has opened the file in this process, before `start()`.
    let own = io::stdout().as_fd().try_clone_to_owned();
    let file = own.map_err(|error| {
        let name = &configuration.name;
        format!("application {name:?}: cannot duplicate standard output: {error}")
    })?;
    let file = OutputFile::inherited("standard output", file.into());
    Ok(Output::File(file))
}
