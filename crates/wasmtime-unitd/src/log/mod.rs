//! The server's log: one line an event, to a file that can be reopened or to standard error.

mod queue;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tracing::Level;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::FilterExt as _;
use tracing_subscriber::fmt::{self as lines, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use unit_log::{Lines, RateLimit};

use crate::arguments::Logging;
use queue::LineQueue;

/// Events without a rate limit: what only the operator can cause, and what has a limit of its own or is
/// asked for. What proxied clients of the control API cause has targets of its own, and limits.
const UNLIMITED: [&str; 7] = [
    "wasmtime_unitd",
    "code_cache",
    // Changes that were made.
    "control::control",
    "control::certificates",
    // What guests print.
    "unit_log::guest_output::lines",
    // `log_route`.
    "server::notice",
    "server::discarded",
];

/// How long the end of the process waits for the last lines to be written.
const FLUSH: Duration = Duration::from_secs(1);

/// The open log. Clones are the same.
#[derive(Clone)]
pub(crate) struct Log(Arc<Inner>);

struct Inner {
    /// The log's file, unless it is standard error.
    path: Option<PathBuf>,
    /// Not locked while it is written to, which may take for ever.
    file: Mutex<Arc<File>>,
    queue: LineQueue,
    limit: RateLimit,
}

impl Log {
    /// Opens the log and sends all events there from now on.
    pub(crate) fn start(logging: &Logging) -> Result<Self> {
        let file = match &logging.log {
            // Not by `io::stderr`, whose lock would be held while it is written to.
            None => File::from(io::stderr().as_fd().try_clone_to_owned()?),
            Some(path) => open(path)?,
        };
        let limit = RateLimit::new(&UNLIMITED);
        let log = Self(Arc::new(Inner {
            path: logging.log.clone(),
            file: Mutex::new(Arc::new(file)),
            queue: LineQueue::default(),
            limit: limit.clone(),
        }));
        let writer = log.clone();
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.write_all())
            .context("cannot start the log's thread")?;
        let layer = lines::layer()
            .event_format(Lines::Daemon)
            .with_writer(log.clone())
            // A log that cannot be written to must not end in a panic.
            .log_internal_errors(false)
            .with_filter(unit_log::targets(logging.log_level).and(limit));
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))?;
        let for_panics = log.clone();
        // The default one writes to standard error, which may stall.
        std::panic::set_hook(Box::new(move |panic| for_panics.panicked(panic)));
        Ok(log)
    }

    /// Opens the file of the same name again, after someone has moved the old one away. Blocks.
    pub(crate) fn reopen(&self) -> Result<()> {
        if let Some(path) = &self.0.path {
            // Opened first: if this fails, the old file goes on.
            let new = Arc::new(open(path)?);
            *self.0.file.lock().unwrap_or_else(PoisonError::into_inner) = new;
        }
        Ok(())
    }

    /// The log's file, to hand it to another user.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// Waits until what has been logged is written, for `limit` at most.
    pub(crate) fn flush(&self, limit: Duration) {
        self.0.limit.report();
        self.0.queue.flush(limit);
    }

    /// Waits for a second at most until all is written, when the returned value is dropped.
    pub(crate) fn flush_at_end(&self) -> FlushAtEnd {
        FlushAtEnd(self.clone())
    }

    /// Adds the line for a panic. Not by an event, since the panic may have come while one was logged.
    fn panicked(&self, panic: &PanicHookInfo<'_>) {
        if self.0.limit.admits_panic() {
            let line = Lines::Daemon.panic(panic);
            self.0.queue.add(line.as_bytes());
        }
    }

    fn write_all(&self) {
        let file = || Arc::clone(&self.0.file.lock().unwrap_or_else(PoisonError::into_inner));
        let warning = |text: &str| Lines::Daemon.line(Level::WARN, text);
        self.0.queue.write_all(file, warning);
    }
}

/// Waits for the log when it is dropped.
pub(crate) struct FlushAtEnd(Log);

impl Drop for FlushAtEnd {
    fn drop(&mut self) {
        self.0.flush(FLUSH);
    }
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot open the log {}", path.display()))
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

/// Takes whole lines, one with each write.
impl Write for &Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.queue.add(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
