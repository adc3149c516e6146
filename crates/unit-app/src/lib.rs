//! What an application under NGINX Unit does with its requests, over an [`Exchange`] that libunit,
//! or a test, implements.
//!
//! ```text
//!   environment ──Options::take──▶ threads, limits, grants, what the guests see
//!   access.filesystem ──directories──▶ the folders that guests see
//!
//!   Exchange::request ─▶ RawRequest ─▶ http::Request ─▶ engine::Application::handle
//!   Exchange::poll_content ─▶ content (pieces, as the guest asks) ─┘        │
//!   Exchange::{poll_head, poll_write, finish} ◀── head, body ───────────────┘
//! ```
//!
//! - [`serve()`] serves one request, from its head to the end of its response. It runs on one thread and
//!   never blocks it.
//! - [`Ledger`] limits how much of Unit's shared memory one response may hold: back-pressure, by which a
//!   slow client delays only its own guest.
//!
//! Not here: pointers and libunit (`nxt-wasmtime`), threads, sockets, JSON (`config`).

mod content;
mod environment;
mod exchange;
mod folders;
mod ledger;
mod request;
mod response;
mod serve;

pub use environment::{EnvironmentError, Options};
pub use exchange::{Content, Exchange, ResponseRefused};
pub use folders::{FolderError, check_access, directories};
pub use ledger::{Grant, HeldChunks, Ledger, SegmentMap};
pub use request::{BadRequest, RawRequest};
pub use serve::serve;
