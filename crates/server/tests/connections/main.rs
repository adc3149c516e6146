//! Connections of clients, with a real engine behind them.

#![expect(clippy::unwrap_used, reason = "a test may, its helpers included")]

mod first_request;
mod hang_up;
mod heads;
mod held;
mod pipelining;
mod rest;
mod small_pieces;
mod streams;
mod support;
mod timeouts;
mod tls;
mod unread;
