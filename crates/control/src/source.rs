//! Where the configuration comes from: clients of the control API, whose changes are kept in a state directory, or
//! files that an operator changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use certificates::{CurrentCertificates, Store};
use parking_lot::RwLock;

use crate::StateDir;

/// Where the configuration of a [`Control`](crate::Control) comes from.
#[derive(Debug)]
pub struct Source {
    pub(crate) kind: SourceKind,
    pub(crate) certificates: CurrentCertificates,
    /// Whether expressions in strings are replaced, or refused.
    pub(crate) substitution: bool,
}

#[derive(Debug)]
pub(crate) enum SourceKind {
    State(StateDir),
    Files(ConfigFiles),
}

impl Source {
    /// Clients of the API, whose changes are kept in the directory. Expressions in strings (`${env:NAME}`,
    /// `${file:/path}`) are refused unless `substitution`: they let every client of the API read the server's
    /// environment and files.
    #[must_use]
    pub fn state(directory: StateDir, substitution: bool) -> Self {
        Self {
            certificates: directory.certificates().current().clone(),
            kind: SourceKind::State(directory),
            substitution,
        }
    }

    /// Files, whose content is passed to [`Control::apply`](crate::Control::apply). Clients of the API cannot change
    /// anything.
    #[must_use]
    pub fn files(files: ConfigFiles, certificates: CurrentCertificates) -> Self {
        Self {
            kind: SourceKind::Files(files),
            certificates,
            substitution: true,
        }
    }

    /// The directory, if there is one.
    pub(crate) fn directory(&self) -> Option<&StateDir> {
        match &self.kind {
            SourceKind::State(directory) => Some(directory),
            SourceKind::Files(_) => None,
        }
    }

    /// The store of certificates that clients of the API change, or the path of the files that have them instead.
    pub(crate) fn store(&self) -> Result<&Arc<Store>, &Path> {
        match &self.kind {
            SourceKind::State(directory) => Ok(directory.certificates()),
            SourceKind::Files(files) => Err(files.path()),
        }
    }
}

impl From<StateDir> for Source {
    /// Without substitution.
    fn from(directory: StateDir) -> Self {
        Self::state(directory, false)
    }
}

/// The state of a configuration that comes from files. Clones share it.
#[derive(Clone, Debug)]
pub struct ConfigFiles(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    problem: RwLock<Option<String>>,
}

/// A longer text is cut off, in bytes.
const MAX_PROBLEM: usize = 2000;

impl ConfigFiles {
    /// Files at `path`, without a problem.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(Arc::new(Inner {
            path: path.into(),
            problem: RwLock::default(),
        }))
    }

    /// The file, or the folder of the files.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Why the files as they are now are not in force. `None` if they are.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.0.problem.read().clone()
    }

    /// Sets or clears the problem.
    pub fn set_problem(&self, problem: Option<&str>) {
        let problem = problem.map(|text| {
            let end = text.floor_char_boundary(MAX_PROBLEM);
            let rest = if end < text.len() { "…" } else { "" };
            format!("{}{rest}", &text[..end])
        });
        *self.0.problem.write() = problem;
    }
}
