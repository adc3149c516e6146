//! A component behind Wasmtime and nothing else: what the servers of this repository are measured
//! against.

mod sandbox;

pub use sandbox::{Instance, Sandbox};
