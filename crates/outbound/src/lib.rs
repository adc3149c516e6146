//! The client for guests' requests: sends them to allowed destinations only, over pooled connections. What a guest is,
//! and how it gets the response, is the engine's business.
//!
//! ```text
//! Request ──▶ policy ──▶ limit ──▶ fields ──▶ pool ────────────▶ connection ──▶ Response
//!             │Denied    │Connec-  │host,      │ none idle          ▲            │ body
//!             │Uri       │tionLimit│hop-by-hop ▼                    │            ▼
//!                                            resolve ─▶ policy ─▶ connect, TLS   between-bytes
//!                                            │Dns       │Address-   │Refused …    │BetweenBytes-
//!                                            │Dns-      │Prohibited │Connect-     │Timeout
//!                                            │Timeout               │Timeout      │Response-
//!                                                                                  Incomplete
//! ```
//!
//! - [`Client`] is the pool of one application. Applications do not share connections, TLS sessions or limits. HTTP/2
//!   is used if a server agrees to it by ALPN, HTTP/1.1 otherwise.
//! - [`Timeouts`] are those of one request.
//! - [`Error`] says why a request failed, one variant for each error code of `wasi:http`.
//! - [`ResponseBody`] is read as it arrives. Request and response stream at the same time.
//!
//! # What it refuses to do
//!
//! - It connects to nothing that the [`Policy`](outbound_policy::Policy) does not allow (SSRF). The destination is
//!   checked for each request, also on a pooled connection; the resolved addresses are checked right before connecting,
//!   and only allowed ones are tried.
//! - It follows no redirect, keeps no cookies, decodes no content, and looks for no proxy in the
//!   environment.
//! - It sends no `CONNECT` and no `upgrade`, and accepts no 101.
//! - It never makes a truncated message look complete: a body that fails, or whose length is not its `content-length`,
//!   ends in a cut-off connection (HTTP/1) or a reset stream (HTTP/2).
//! - Response smuggling: it accepts no response whose length is ambiguous, with both `content-length` and
//!   `transfer-encoding`, or with a coding other than just `chunked`. A connection on which a 204 announces a body is
//!   not reused.
//! - It does not retry a request of which anything was sent. One that was not sent, since the server has closed its
//!   pooled connection, is sent on another connection.
//!
//! # Limits
//!
//! | what | limit |
//! | --- | --- |
//! | requests in progress, their bodies included | [`Options::requests`], 512 |
//! | connections, idle ones included | [`Options::connections`], 1,024, and what [`Options::budget`] allows |
//! | idle connections to one scheme, host and port | 32, each for 60 seconds |
//! | look-ups of names at a time | 16, each for 5 seconds |
//! | addresses that are tried | 16, those of one family within 10 seconds |
//! | a response's header section | 64 KiB and 256 fields |
//! | bytes of a request's body that are read before its head is sent | 64 KiB, and the rest of the last piece |
//! | HTTP/2's receive windows | 256 KiB a stream, 1 MiB a connection |
//!
//! All are per [`Client`], except the budget.
//!
//! # Runtimes
//!
//! A connection is driven by a task on the tokio runtime that opened it, and may be used from others: requests and
//! bodies pass through channels. Such a request progresses only while that other runtime runs, and ends in
//! [`Error::Terminated`] if it is dropped before there is a response ([`Error::ResponseIncomplete`] after that). If
//! each thread has its own runtime and may be busy for long, give each thread its own client. The task that closes
//! idle connections is on the first runtime, too; without it they are closed when the next request finds them
//! expired.
//!
//! Names are looked up in threads of their own and not in the runtime's blocking pool: a look-up cannot be cancelled,
//! and neither other blocking work nor the end of a runtime should wait for it.

mod client;
mod connect;
mod error;
mod exchange;
mod fields;
mod limits;
mod request_body;
mod resolve;
mod response_body;
mod tcp;
mod timeouts;
mod tls;

pub use client::{Client, Options};
pub use error::Error;
pub use http_message::BoxError;
pub use limits::ConnectionBudget;
pub use response_body::ResponseBody;
pub use timeouts::Timeouts;
