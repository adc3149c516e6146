//! Sends requests over a pool of connections, to where a policy allows.
//!
//! ```text
//! Request ──▶ policy ──▶ count ──▶ fields ──▶ pool ────────────▶ connection ──▶ Response
//!             │Denied    │Connec-  │host,      │ none idle          ▲            │ body
//!             │Uri       │tionLimit│hop-by-hop ▼                    │            ▼
//!                                            resolve ─▶ policy ─▶ connect, TLS   between-bytes
//!                                            │Dns       │Address-   │Refused …    │BetweenBytes-
//!                                            │Dns-      │Prohibited │Connect-     │Timeout
//!                                            │Timeout               │Timeout      │Response-
//!                                                                                  Incomplete
//! ```
//!
//! - [`Client`] is the pool of one application. Applications do not share connections, TLS sessions
//!   or limits. HTTP/2 is spoken where a server agrees to it by ALPN, HTTP/1.1 everywhere else.
//! - [`Timeouts`] are those of one request.
//! - [`Error`] says what became of a request that did not go well, one variant for each outcome that
//!   can be told apart.
//! - [`ResponseBody`] is read as it arrives. Request and response stream at the same time.
//!
//! # What it refuses to do
//!
//! - It calls nothing that the [`Policy`](outbound_policy::Policy) does not allow. The request is
//!   asked about first, pooled connection or not; the resolved addresses right before connecting,
//!   and only those that are allowed are tried.
//! - It follows no redirect, keeps no cookies, decodes no content, and looks for no proxy in the
//!   environment.
//! - It sends no `CONNECT` and no `upgrade`, and takes no answer of 101.
//! - It does not make a whole message of a part: a body that fails, or that is not as long as its
//!   `content-length`, ends in a connection (HTTP/1) or a stream (HTTP/2) that is cut off.
//! - It takes no response whose length is not certain: with both `content-length` and
//!   `transfer-encoding`, or with a coding other than just `chunked`. A connection on which a response
//!   of 204 announces a body is not used again.
//! - It does not repeat a request of which anything was sent. One that a pooled connection did not
//!   take, since the server has closed it, goes to another connection.
//!
//! # Bounds
//!
//! | what | how much |
//! | --- | --- |
//! | requests in progress, their bodies included | [`Options::requests`], 512 |
//! | connections, idle ones included | [`Options::connections`], 1,024, and what [`Options::budget`] allows |
//! | idle connections to one scheme, host and port | 32, each for 60 seconds |
//! | look-ups of names at a time | 16, each for 5 seconds |
//! | addresses that are tried | 16, those of a family in 10 seconds altogether |
//! | a response's header section | 64 KiB and 256 fields |
//! | bytes of a request's body that are read before its head is sent | 64 KiB, of which the last piece may be beyond |
//! | HTTP/2's receive windows | 256 KiB a stream, 1 MiB a connection |
//!
//! All are per [`Client`], but for the budget.
//!
//! # Runtimes
//!
//! A connection is driven by a task on the tokio runtime that opened it, and may be used from others:
//! requests and bodies go through channels. A request then advances only while that other runtime is
//! driven, and ends in [`Error::Terminated`] when it is dropped before there is a response
//! ([`Error::ResponseIncomplete`] after that). Where each thread has a runtime of its own and may be
//! busy for long, give each thread its own client. The task that closes idle connections in time
//! lives on the first runtime, too; without it they are closed when the next request finds them
//! expired.
//!
//! Names are looked up in threads of their own and not in the runtime's blocking pool: a look-up
//! cannot be interrupted, and neither other blocking work nor the end of a runtime waits for it.

mod client;
mod connect;
mod error;
mod exchange;
mod fields;
mod request_body;
mod resolve;
mod response_body;
mod tcp;
mod timeouts;
mod tls;

pub use client::{Client, ConnectionBudget, Options};
pub use error::Error;
pub use http_message::BoxError;
pub use response_body::ResponseBody;
pub use timeouts::Timeouts;
