//! What every front end of the engine must do over HTTP, as black-box cases.
//!
//! ```text
//!   FrontEnd (how to start one) ─▶ Running (addresses, processes, log, control API)
//!                                     ▲
//!   http_suite!(front end) ─▶ case ───┤ Client: raw bytes over a socket, every wait bounded
//!                                     └ Http2: hyper's client, with prior knowledge
//! ```
//!
//! A case is a function over a [`FrontEnd`]; [`http_suite!`] makes a test of each. A case that has a
//! [`Need`] which a front end lacks is not run there. What only one front end does is tested in its own
//! crate, with the same [`Running`] and [`Client`].
//!
//! Tests wait for conditions, each with a deadline, so that no test hangs. A test that fails prints its
//! server's log.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot continue must fail"
)]

mod client;
pub mod configuration;
mod control;
mod curl;
mod front_end;
pub mod http2;
mod memory;
mod options;
mod ports;
pub mod processes;
mod response;
mod running;
mod suite;
mod upstream;
mod wait;

pub mod cases;

pub use client::{Client, NoAnswer, Socket};
pub use curl::{curl, has_curl};
pub use front_end::{FrontEnd, NO_WASI_03, Need, Wasi03, can_run, is_here};
pub use memory::Watch;
pub use options::Options;
pub use ports::free_address;
pub use response::{End, Head, Response};
pub use running::Running;
pub use test_components::World;
pub use upstream::Upstream;
pub use wait::{DEADLINE, LONG, until, within};
