//! Why a component does not load, in words for the person who deploys it.

use std::io;
use std::path::{Path, PathBuf};

use crate::component::stacks::StacksError;
use crate::engine::pool;
use crate::sandbox::world::WorldError;

/// The largest component file that is read, in bytes.
pub(super) const MAX_FILE: u64 = 256 << 20;

/// Why a component does not load. The message starts with the path of its file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct LoadError {
    path: PathBuf,
    reason: LoadReason,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum LoadReason {
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("is not a regular file")]
    NotAFile,
    #[error("is empty")]
    Empty,
    #[error("has {0} bytes; at most {MAX_FILE} are read")]
    TooLarge(u64),
    #[error(
        "is a core module where a component is expected; build it for the target wasm32-wasip2, \
         or turn it into a component with: wasm-tools component new {} \
         --adapt wasi_snapshot_preview1.reactor.wasm -o COMPONENT.wasm", .0.display()
    )]
    CoreModule(PathBuf),
    #[error(
        "is WebAssembly text where a binary component is expected; convert it with: wasm-tools parse"
    )]
    Text,
    #[error(
        "is an ELF file, precompiled by Wasmtime perhaps; only a binary component is loaded, \
         since machine code from outside cannot be checked"
    )]
    Precompiled,
    #[error("is not a WebAssembly component: it starts with {0}")]
    NotWasm(String),
    #[error("is not a valid component: {0:#}")]
    Invalid(wasmtime::Error),
    #[error("needs {needed} bytes of memory from the start; an instance may have {limit}")]
    Memory { needed: u64, limit: u64 },
    #[error("the number of stacks that it needs cannot be determined: {0}")]
    Stacks(#[from] StacksError),
    #[error(
        "may need {0} stacks at a time, one for each of its components; an instance may have {most}",
        most = pool::MOST_STACKS
    )]
    ManyStacks(u64),
    #[error(transparent)]
    World(#[from] WorldError),
}

impl LoadReason {
    pub(super) fn of(self, path: &Path) -> LoadError {
        LoadError {
            path: path.to_owned(),
            reason: self,
        }
    }
}
