//! The two flavors of Wasmtime engine, with and without concurrent tasks, and what guests of each may import.

use wasmtime::component::Linker;

use crate::sandbox::guest::Guest;
use crate::sandbox::{filesystem, incoming_body};

/// A Wasmtime engine, and what its guests may import.
///
/// There are two. A store that is ready for the concurrent tasks of WASI 0.3 makes a small request a third more
/// expensive, so components that do not need them are compiled and run without.
pub(crate) struct Flavor {
    pub(crate) wasmtime: wasmtime::Engine,
    pub(crate) linker: Linker<Guest>,
}

impl Flavor {
    /// Links all of WASI, since the standard libraries of most languages import files and the environment,
    /// whether a program uses them or not. Where there are concurrent tasks, in both versions: a component may
    /// mix them. What a guest may do with its imports is decided by its `WasiCtx`.
    pub(crate) fn new(wasmtime: wasmtime::Engine) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(&wasmtime);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        // Shadows the functions for streams: these need the table of handles only, so that a guest that uses
        // nothing else of WASI never has its context made (see `Wasi`).
        linker.allow_shadowing(true);
        wasmtime_wasi_io::add_to_linker_async(&mut linker)?;
        filesystem::add_to_linker_02(&mut linker)?;
        linker.allow_shadowing(false);
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        incoming_body::add_to_linker(&mut linker)?;
        if wasmtime.get_concurrency_support() {
            wasmtime_wasi::p3::add_to_linker(&mut linker)?;
            wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
            linker.allow_shadowing(true);
            filesystem::add_to_linker_03(&mut linker)?;
            linker.allow_shadowing(false);
        }
        Ok(Self { wasmtime, linker })
    }
}
