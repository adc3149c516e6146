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
//! - [`serve()`] is one request from its head to its end. It runs on one thread and never blocks it.
//! - [`Ledger`] decides how much of Unit's shared memory one response may hold, so that a client
//!   that reads slowly holds back its own guest and nobody else.
//!
//! What it does not do: pointers, threads, sockets, configuration text (the one option that is JSON
//! is left to `config`). There is no `unsafe` here.

mod content;
mod environment;
mod exchange;
mod folders;
mod ledger;
mod request;
mod response;
mod serve;

pub use environment::{EnvironmentError, Options};
pub use exchange::{Content, Exchange, Gone};
pub use folders::{FolderError, directories, look_into};
pub use ledger::{Grant, Held, Ledger, SegmentMap};
pub use request::{BadRequest, RawRequest};
pub use serve::serve;
