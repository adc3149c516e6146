//! Where the configuration is kept, and what that means for folders and certificates.

use std::path::PathBuf;

use anyhow::Result;
use certificates::CurrentCertificates;
use control::{ConfigFiles, StateDir};

use crate::arguments::Arguments;
use crate::config_source;

/// Where the configuration is kept.
pub(crate) enum Kept {
    /// By the server itself, for clients of the control API.
    State(StateDir),
    /// In files that an operator changes.
    Files(ConfigFiles),
}

impl Kept {
    pub(crate) fn open(arguments: &Arguments) -> Result<Self> {
        Ok(match &arguments.config {
            None => Self::State(StateDir::open(&arguments.state.directory)?),
            Some(path) => Self::Files(ConfigFiles::new(std::path::absolute(path)?)),
        })
    }

    pub(crate) fn files(&self) -> Option<&ConfigFiles> {
        match self {
            Self::State(_) => None,
            Self::Files(files) => Some(files),
        }
    }

    /// Whether the server keeps the configuration, and never had one.
    pub(crate) fn is_new(&self) -> bool {
        match self {
            Self::State(state) => state.is_new(),
            Self::Files(_) => false,
        }
    }

    /// The folder with private keys.
    pub(crate) fn secret(&self) -> Option<PathBuf> {
        match self {
            Self::State(state) => Some(state.certificates().folder().to_owned()),
            Self::Files(files) => config_source::secret_folder(files.path()),
        }
    }

    pub(crate) fn certificates(&self) -> CurrentCertificates {
        match self {
            Self::State(state) => state.certificates().current().clone(),
            Self::Files(_) => CurrentCertificates::default(),
        }
    }
}
