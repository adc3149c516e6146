//! The control API over real sockets, with a runtime that only takes notes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic")]

mod certificates;
mod changes;
mod health;
mod limits;
mod metrics;
mod quotas;
mod requests;
mod stop;
mod support;
mod threads;
