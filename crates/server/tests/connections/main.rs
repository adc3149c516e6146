//! Connections of clients, with a real engine behind them.

#![expect(clippy::unwrap_used, reason = "a test may, its helpers included")]

mod closing;
mod exchanges;
mod first_request;
mod frames;
mod hang_up;
mod head_requests;
mod heads;
mod held;
mod http2_limits;
mod parking;
mod pings;
mod pipelining;
mod rapid_resets;
mod shares;
mod small_pieces;
mod streams;
mod support;
mod timeouts;
mod tls;
mod turns;
mod unread;
mod upgrades;
