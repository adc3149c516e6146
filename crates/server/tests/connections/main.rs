//! Connections of clients, with a real engine behind them.

#![expect(clippy::unwrap_used, reason = "a test may, its helpers included")]

mod held;
mod rest;
mod streams;
mod support;
mod timeouts;
mod tls;
