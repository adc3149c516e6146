//! Listens, speaks HTTP, and passes each request to who is to answer it: an application, a file, a few
//! words, another server.
//!
//! ```text
//!   Server::prepare ─▶ Plan (new sockets bound, nothing changed) ─▶ Server::commit
//!                                                                      │ one snapshot swapped
//!   listener ─accept─▶ connection task ─▶ opening (HTTP/1, HTTP/2, 505)▼
//!                           │ hyper          request checks (RFC 9112) ─▶ Target
//!                           │                     Application ◀────────────┤
//!                           │                          │ ▲                 ▼
//!                           │                          │ └──── pass ── Table: steps, actions
//!                           ▼                          ▼                   │ return, share
//!                      response ◀── engine::Body, a file, or a page ◀──────┘
//! ```
//!
//! Where routes or upstreams are named, a walk through a [`Table`] stands before the application, and
//! may end elsewhere.
//!
//! - Accept errors are survived with a pause; a socket option that cannot be set is a warning for
//!   that socket.
//! - TLS handshakes are made in the connection's own task, within [`Timeouts::header_read`].
//! - All waits are bounded by [`Timeouts`], all header sections by [`MAX_HEADER_SECTION`], all bodies by
//!   [`Settings`].
//! - A body that its guest, or another server, cut off ends in a cut-off message, on every version of HTTP.
//! - What is asked of a request by a [`Table`], the log of routes or an [`AccessLog`] is found out for
//!   those only: a request whose listener names an application is passed on as it is.
//! - Where a configuration comes from, what runs behind an application, and which counters
//!   [`Metrics`] show, is none of its business; nor is which certificate is for whom, which is decided by whoever made a listener's
//!   `rustls::ServerConfig`.
//! - A connection that has become a WebSocket to another server is waited for like a request.
//!
//! Connections are accepted on the tokio runtime that [`Server::commit`] is called in, and served on that
//! of [`Options::runtimes`] that has the fewest. There they stay; streams of HTTP/2 may go to others.

mod accept;
mod access_log;
mod address;
mod connection;
mod connection_info;
mod counters;
mod exchange;
mod held;
mod limits;
mod link;
mod listener;
mod request;
mod response;
mod routes;
mod server;
mod settings;
mod shared;
mod snapshot;
mod socket;
#[cfg(test)]
mod test_bodies;
mod timeouts;
mod tunnel;
mod variables;
mod workers;

pub use access_log::{AccessLog, LogFormat};
pub use address::Address;
pub use connection::MAX_HEADER_SECTION;
pub use counters::Connections;
pub use held::HeldForClients;
pub use limits::MAX_HELD;
pub use listener::BindError;
pub use routes::{Action, ActionKind, Metrics, Pass, ResponseHeader, Return, Share, Steps, Table};
pub use server::{Listen, Plan, Server};
pub use settings::Settings;
pub use shared::Options;
pub use snapshot::Target;
pub use timeouts::Timeouts;
