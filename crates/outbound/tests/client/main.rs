//! The client against servers on this machine: hyper's where they are to behave, plain sockets
//! where they are not.

#![expect(clippy::unwrap_used, reason = "a test may, its helpers included")]

mod bodies;
mod connections;
mod framing;
mod policy;
mod responses;
mod support;
mod timeouts;
mod tls;
