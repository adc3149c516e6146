//! The server's log: one line per event, to a file that can be reopened, or to standard error. Format and rate limit
//! are `unit_log`'s.

mod journal;
mod queue;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use tracing::Level;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::FilterExt as _;
use tracing_subscriber::fmt::{self as lines, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use unit_log::{Lines, RateLimit};

use crate::arguments::{LogFormat, Logging};
use queue::LineQueue;

/// Events without a rate limit: those that only the operator can cause, and those that have a limit of their own or
/// were asked for. Events caused by proxied clients of the control API have other targets, and are limited.
const UNLIMITED: [&str; 7] = [
    "wasmtime_unitd",
    "code_cache",
    // Changes.
    "control::control",
    "control::certificates",
    // What guests print.
    "unit_log::guest_output::lines",
    // `log_route`.
    "server::notice",
    "server::discarded",
];

/// How long the exit of the process waits for the last lines to be written.
const FLUSH: Duration = Duration::from_secs(1);

/// Prints the error that ends the process. It is not a line of the log, which may not be open yet; in systemd's journal
/// it has the priority of an error.
pub(crate) fn print_fatal(error: &anyhow::Error) {
    let stderr = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    let is_journal = stderr.is_ok_and(|file| journal::reads(&file));
    let priority = if is_journal { "<3>" } else { "" };
    eprintln!("{priority}wasmtime-unitd: {error:#}");
}

/// The open log. Clones share it.
#[derive(Clone)]
pub(crate) struct Log(Arc<OpenLog>);

struct OpenLog {
    /// The log's file, unless it is standard error.
    path: Option<PathBuf>,
    /// Not locked during a write, which may block forever.
    file: Mutex<Arc<File>>,
    queue: LineQueue,
    limit: RateLimit,
    lines: Lines,
}

impl Log {
    /// Opens the log, and logs all events and panics of the process from now on.
    pub(crate) fn start(logging: &Logging) -> Result<Self> {
        let file = match &logging.log {
            // Not `io::stderr`, whose lock would be held during a write that blocks.
            None => File::from(io::stderr().as_fd().try_clone_to_owned()?),
            Some(path) => open(path)?,
        };
        let lines = match logging.log_format {
            LogFormat::Json => Lines::Json,
            LogFormat::Text if logging.log.is_none() && journal::reads(&file) => Lines::Journal,
            LogFormat::Text => Lines::Daemon,
        };
        let limit = RateLimit::new(&UNLIMITED);
        let log = Self(Arc::new(OpenLog {
            path: logging.log.clone(),
            file: Mutex::new(Arc::new(file)),
            queue: LineQueue::default(),
            limit: limit.clone(),
            lines,
        }));
        let writer = log.clone();
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.write_all())
            .context("cannot start the log thread")?;
        let layer = lines::layer()
            .event_format(lines)
            .with_writer(log.clone())
            // Reporting a failed write to standard error could panic.
            .log_internal_errors(false)
            .with_filter(unit_log::targets(logging.log_level).and(limit));
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))?;
        let for_panics = log.clone();
        // The default hook writes to standard error, which may block.
        std::panic::set_hook(Box::new(move |panic| for_panics.panicked(panic)));
        Ok(log)
    }

    /// Opens the path again, after log rotation has renamed the file. Blocks.
    pub(crate) fn reopen(&self) -> Result<()> {
        if let Some(path) = &self.0.path {
            // Opened first, so that the old file stays in use if this fails.
            let new = Arc::new(open(path)?);
            *self.0.file.lock() = new;
        }
        Ok(())
    }

    /// The log's file. `None` for standard error.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// Waits until all lines are written, for `limit` at most.
    pub(crate) fn flush(&self, limit: Duration) {
        self.0.limit.report();
        self.0.queue.flush(limit);
    }

    /// Flushes the log when the returned value is dropped, within [`FLUSH`].
    pub(crate) fn flush_at_end(&self) -> FlushAtEnd {
        FlushAtEnd(self.clone())
    }

    /// Adds the line for a panic. Not as an event, since the panic may have happened while one was logged.
    fn panicked(&self, panic: &PanicHookInfo<'_>) {
        if self.0.limit.admits_panic() {
            let line = self.0.lines.panic(panic);
            self.0.queue.add(line.as_bytes());
        }
    }

    fn write_all(&self) {
        let file = || Arc::clone(&self.0.file.lock());
        let warning = |text: &str| self.0.lines.line(Level::WARN, text);
        self.0.queue.write_all(file, warning);
    }
}

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

/// Gets one complete line with each write.
impl Write for &Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.queue.add(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
