//! What is measured, and how long: the programs, what they serve, and the rounds.

use std::path::{Path, PathBuf};

/// How long and how often to measure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) rounds: u32,
    pub(super) seconds: u32,
}

impl Options {
    /// Says what is measured now.
    pub(super) fn progress(self, workload: &str, round: u32, what: &str) {
        println!(
            "xtask: {workload}: round {round} of {}: {what}",
            self.rounds
        );
    }
}

/// The programs of this repository that are measured, and what they serve.
pub(super) struct Built {
    pub(super) daemon: PathBuf,
    /// Another build of the daemon.
    pub(super) before: Option<PathBuf>,
    pub(super) baseline: PathBuf,
    /// The folders of the guests, of WASI 0.2 and 0.3.
    pub(super) guests: PathBuf,
    pub(super) guests_03: PathBuf,
    pub(super) unit: Option<Unit>,
}

impl Built {
    /// A guest of WASI 0.2.
    pub(super) fn guest(&self, name: &str) -> PathBuf {
        self.guests.join(format!("{name}.wasm"))
    }

    pub(super) fn guest_03(&self, name: &str) -> PathBuf {
        self.guests_03.join(format!("{name}.wasm"))
    }
}

/// What is measured of a tree of Unit.
pub(super) struct Unit {
    pub(super) unitd: PathBuf,
    /// This project's module.
    pub(super) module: PathBuf,
    /// Unit's own, if the tree has it.
    pub(super) own: Option<PathBuf>,
}

impl Unit {
    /// What has been built in a tree, and a module for it.
    pub(super) fn new(tree: &Path, module: PathBuf) -> Self {
        let own = tree.join("build/lib/unit/modules/wasm_wasi_component.unit.so");
        Self {
            unitd: tree.join("build/sbin/unitd"),
            module,
            own: own.is_file().then_some(own),
        }
    }
}
