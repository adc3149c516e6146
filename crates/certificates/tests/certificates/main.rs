//! The crate from outside: bundles, what is told of them, how they are kept, and how they are
//! served. All keys and certificates are made here, by rcgen or by `openssl`.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may, its helpers included"
)]

mod bundles;
mod facts;
mod foreign;
mod handshakes;
mod peer;
mod refusals;
mod sessions;
mod store;
mod support;
