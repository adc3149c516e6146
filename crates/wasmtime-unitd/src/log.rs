//! The server's log: one line an event, to a file that can be reopened or to standard error.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use tracing::Level;
use tracing_subscriber::Layer as _;
use tracing_subscriber::fmt::{self as lines, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use unit_log::Lines;

/// Our own crates, whose events are the log's.
const OWN: [&str; 6] = [
    "wasmtime_unitd",
    "code_cache",
    "control",
    "engine",
    "server",
    "static_files",
];

/// The open log. Clones are the same.
#[derive(Clone)]
pub(crate) struct Log(Arc<Inner>);

pub(crate) enum Inner {
    Stderr,
    File { path: PathBuf, file: Mutex<File> },
}

impl Log {
    /// Opens the log and sends all events there from now on.
    pub(crate) fn start(path: Option<&Path>, level: Level) -> Result<Self> {
        let inner = match path {
            None => Inner::Stderr,
            Some(path) => Inner::File {
                path: path.to_owned(),
                file: Mutex::new(open(path)?),
            },
        };
        let log = Self(Arc::new(inner));
        let layer = lines::layer()
            .event_format(Lines::Daemon)
            .with_writer(log.clone())
            // A log that cannot be written to must not end in a panic.
            .log_internal_errors(false)
            .with_filter(unit_log::targets(&OWN, level));
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))?;
        Ok(log)
    }

    /// Opens the file of the same name again, after someone has moved the old one away.
    pub(crate) fn reopen(&self) -> Result<()> {
        if let Inner::File { path, file } = &*self.0 {
            // Opened first: if this fails, the old file goes on.
            let new = open(path)?;
            *file.lock().unwrap_or_else(PoisonError::into_inner) = new;
        }
        Ok(())
    }

    /// The log's file, to hand it to another user.
    pub(crate) fn path(&self) -> Option<&Path> {
        match &*self.0 {
            Inner::Stderr => None,
            Inner::File { path, .. } => Some(path),
        }
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
    type Writer = &'a Inner;

    fn make_writer(&'a self) -> &'a Inner {
        &self.0
    }
}

impl Write for &Inner {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self {
            Inner::Stderr => io::stderr().write(line),
            Inner::File { file, .. } => file
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
