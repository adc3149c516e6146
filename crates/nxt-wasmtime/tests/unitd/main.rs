//! The module in a real unitd, as a black box: the suite of all front ends, and tests of the module only.
//!
//! `cargo xtask test` builds the module under both of its types, and runs this with `UNIT_SRC` and
//! `UNIT_MODULES` set. Without them no test is run, and the reason is printed.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot continue must fail"
)]

mod bodies;
mod components;
mod connections;
mod environment;
mod folders;
mod http;
mod processes;
mod reconfiguration;
mod signals;
mod slow_readers;
mod support;
mod types;
