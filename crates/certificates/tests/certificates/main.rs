//! The public interface: parsing and describing bundles, storing them, and TLS handshakes. All keys and
//! certificates are generated, by rcgen or `openssl`.

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
