//! Listens, speaks HTTP, and has each request answered: by an application, a file, a fixed response, or an
//! upstream.
//!
//! ```text
//!   Server::prepare ─▶ Plan (new sockets bound, nothing changed) ─▶ Server::commit ─▶ one snapshot swapped
//!
//!   accept ──▶ connection ──▶ exchange ──▶ routes ──▶ response ──▶ link
//!   a task     TLS, protocol  check the     steps and  page, file,   state of the connection,
//!   for each   HTTP/1, /2     request, have actions    guest's body, below all of them
//!                             it answered              upstream's
//! ```
//!
//! Each folder uses those on its right, and none on its left. The data that they share is beside them: `snapshot`
//! (what is in force), `shared` (what all connections share), `limits`, `held` (responses that wait in memory
//! for their clients), `variables` and `access_log`.
//!
//! - Accept errors are survived with a pause; a socket option that cannot be set is a warning for
//!   that socket.
//! - TLS handshakes are made in the connection's own task, within [`Timeouts::header_read`].
//! - All waits are bounded by [`Timeouts`], all header sections by [`MAX_HEADER_SECTION`], all bodies by
//!   [`Settings`].
//! - A body that its guest, or an upstream, cut off ends in a cut-off message, on every version of HTTP.
//! - What a [`Table`], the log of routes or an [`AccessLog`] needs of a request is collected for those only: a
//!   request whose listener names an application is forwarded as it is.
//! - A connection that has become a WebSocket to an upstream is waited for like a request.
//!
//! Not known here: where a configuration comes from, what runs in an application, which counters [`Metrics`]
//! show, and which certificate is sent for an SNI name; the latter is decided by the listener's
//! `rustls::ServerConfig`.
//!
//! Connections are accepted on the tokio runtime in which [`Server::commit`] is called. Each is served on the runtime
//! of [`Options::runtimes`] with the fewest connections, and stays there; its HTTP/2 streams may run on others.

mod accept;
mod access_log;
mod address;
mod connection;
mod connection_info;
mod counters;
mod exchange;
mod held;
mod inherited;
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
pub use inherited::{InheritError, InheritedSocket};
pub use limits::MAX_HELD;
pub use listener::BindError;
pub use routes::{Action, ActionKind, Metrics, Pass, ResponseHeader, Return, Share, Steps, Table};
pub use server::{Listen, Plan, Server};
pub use settings::Settings;
pub use shared::Options;
pub use snapshot::Target;
pub use timeouts::Timeouts;
