//! The proxy against servers on this machine that are plain sockets, and without manners of their
//! own.

#![expect(clippy::unwrap_used, reason = "a test may, its helpers included")]

mod cut_offs;
mod framing;
mod front;
mod hop_by_hop;
mod keep_alive;
mod leases;
mod lengths;
mod load_balancing;
mod mutated;

mod support;
mod timeouts;
mod unix;
mod upgrade;
