//! podman and buildah, with images and containers apart from those of the user.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command::has_program;

/// Tools whose files are all in one folder.
#[derive(Clone, Debug)]
pub(crate) struct ContainerTools {
    folder: PathBuf,
}

impl ContainerTools {
    /// Keeps images and containers in this folder.
    ///
    /// # Errors
    ///
    /// When it cannot be written to.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        // For machines without systemd, and such as limit these numbers already.
        let runtime = if has_program("runc") {
            "runtime = \"runc\"\n"
        } else {
            ""
        };
        let settings = format!(
            "[containers]\ndefault_ulimits = [\"nofile=20000:20000\", \"nproc=32768:32768\"]\n\
             [engine]\ncgroup_manager = \"cgroupfs\"\n{runtime}"
        );
        let tools = Self {
            folder: folder.to_owned(),
        };
        let file = tools.settings();
        fs::write(&file, settings).with_context(|| file.display().to_string())?;
        Ok(tools)
    }

    /// `podman` or `buildah`, to which arguments are to be added.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut tool = Command::new(name);
        tool.arg("--root").arg(self.folder.join("root"));
        tool.arg("--runroot").arg(self.folder.join("run"));
        // Works on every file system, also in containers.
        tool.env("STORAGE_DRIVER", "vfs");
        tool.env("CONTAINERS_CONF", self.settings());
        tool
    }

    fn settings(&self) -> PathBuf {
        self.folder.join("containers.conf")
    }
}
