//! Sends requests on to other HTTP/1.1 servers, and streams their responses back.
//!
//! ```text
//!            ┌─ Upstream: whose turn          ┌─ Pool: one kept, or connect
//! Request ───┴─▶ fields, length made anew ────┴─▶ connection ─▶ fields, length made anew ─▶ Response
//!    │ NoServer   │ RequestFraming                 │  ▲ Connect, ConnectTimeout │ Protocol    │ body
//!    ▼            │ Method                         │  │ Terminated, …Timeout    │             ▼
//!   body ─────────────────────────────────────────┘  └── 101: Tunnel           ResponseIncomplete,
//!    RequestBody, RequestBodySize                                               BodyTimeout
//! ```
//!
//! - [`Upstream`] has servers and their weights. [`Server`] is an address.
//! - [`Pool`] keeps connections. It may be shared, and outlive a configuration.
//! - [`Proxy`] is both together with [`Timeouts`]; [`Proxy::send`] is all that it does.
//! - [`ProxyError`] says what went wrong, and what to answer. It has written the log by then.
//! - [`tunnel`](tunnel()) takes what a WebSocket leaves of a request: two connections.
//!
//! It knows nothing of configurations, of routing, of listeners, or of who made a request.
//!
//! # As Unit has it
//!
//! - Servers take turns by weight; there is no fail-over, see [`Upstream`].
//! - The `host` field is the client's, and so is the target, unless whoever calls has rewritten it.
//! - No `x-forwarded-*`, `forwarded` or `via` is added, and those that are there stay.
//! - `server` is taken from responses, since this server names itself; `date` stays.
//! - No redirect is followed, no `location` or cookie rewritten, and no error of a server replaced.
//! - A server that cannot be reached, closes, or does not speak HTTP is a 502; one that takes too long is
//!   a 504. [`Timeouts`] has Unit's.
//!
//! # Unlike Unit
//!
//! - Connections are kept. Unit asks for each to be closed.
//! - Bodies stream; Unit reads a request's whole body first. `expect: 100-continue` reaches the server: the
//!   body waits for it to say so, for a second at most.
//! - A body without a length goes on in chunks, unless all of it (64 KiB at most) has come before the
//!   connection to the server is there, or without a pause: then the server is sent its length. A request that
//!   has none gets `content-length: 0` if its method is POST, PUT or PATCH.
//! - WebSockets go through.
//! - Fields that `connection` names stay with their connection, as do `keep-alive`, `te`, `upgrade`, and
//!   those for proxies; Unit takes out `connection` and `transfer-encoding` alone.
//! - Names of fields are in lower case, and a response's reason phrase is the usual one.
//! - A machine that has no socket left is a 503.
//!
//! # Framing
//!
//! How long a message is, is decided once and told anew; what could be read in two ways is not sent on.
//!
//! | what | a request | a response |
//! | --- | --- | --- |
//! | `content-length` several times, the same | sent once | sent once |
//! | other values, or none that is a number | refused | 502 |
//! | `transfer-encoding` with `content-length` | refused | 502, as in Unit |
//! | `transfer-encoding` other than just `chunked` | refused | 502 |
//! | `transfer-encoding` in HTTP/1.0 | the client's parser's | 502 |
//! | a folded line, a bare CR, a NUL, space before the colon | the client's parser's | 502 |
//! | a bare LF at a line's end | the client's parser's | taken, in the header section only |
//! | a body that is shorter, or chunks that are none | cut off, in an error | cut off, in an error |
//! | a body that is longer | cut off before its last byte, in an error | ends, and the connection with it |
//! | 1xx | – | passed over: hyper's server has no way to send them |
//! | 426 | – | with `upgrade`, which a client of HTTP/1 needs |
//! | HEAD, 204, 304 | – | no body, whatever the fields say |
//! | trailers | if `trailer` announces them, and without framing | without framing |
//! | `CONNECT` | refused | – |
//!
//! Nothing that a server has sent before a request is taken for the request's response: a connection is
//! looked at before it is used again.
//!
//! # A request that is sent twice
//!
//! A server may close a kept connection at the very moment in which a request is sent. The request goes to
//! a new connection then, once, if
//!
//! - nothing of it was written; or
//! - its method is idempotent (RFC 9110, section 9.2.2), no piece of its body was read, and not a
//!   byte of a response has come.
//!
//! On a new connection nothing is repeated.
//!
//! # A pool of its own
//!
//! hyper's HTTP/1 connections are used as they are, without `hyper-util`'s pooled client. That one
//! does not tell whether a connection was kept or whether a byte came before it failed, by which repeating is
//! decided; it repeats nothing that was written; and it names destinations by URIs, which have no
//! words for a Unix socket.
//!
//! # Bounds
//!
//! | what | how much |
//! | --- | --- |
//! | idle connections | [`PoolOptions`]: 32 to one server, each for 60 seconds |
//! | connections in use | one for each request in progress; [`Proxy::send_with`] has them counted |
//! | what is sent of a request's body after its response | 64 MiB, within [`Timeouts::after_response`] |
//! | a response's header section, or its trailers | 64 KiB, as in Unit, and 256 fields |
//! | bytes of a request's body that are read before its head is sent | 64 KiB |
//! | bytes that one connection holds | 128 KiB each way |
//! | bytes that a tunnel holds | 16 KiB each way |
//! | the wait for a last word when a server takes no more | 1 second |
//!
//! ```
//! use proxy::{Pool, Proxy, Server, Timeouts, Upstream};
//!
//! let upstream = Upstream::new([
//!     (Server::tcp("192.0.2.1:8080".parse()?), 1.0),
//!     (Server::unix("/run/app.sock"), 0.5),
//! ])?;
//! let turns: Vec<_> = (0..3).map(|_| upstream.choose().unwrap().to_string()).collect();
//! assert_eq!(turns, ["192.0.2.1:8080", "unix:/run/app.sock", "192.0.2.1:8080"]);
//!
//! let proxy = Proxy::new(upstream, Pool::default(), Timeouts::default());
//! # let _ = proxy;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod exchange;
mod fields;
mod pool;
mod proxy;
mod request_body;
mod response_body;
mod server;
mod socket;
mod timeouts;
mod tunnel;
mod upstream;

pub use error::ProxyError;
pub use http_message::{BoxError, FramingError};
pub use pool::{Pool, PoolOptions};
pub use proxy::Proxy;
pub use response_body::ResponseBody;
pub use server::Server;
pub use timeouts::Timeouts;
pub use tunnel::{Tunnel, TunnelError, tunnel};
pub use upstream::{MAX_WEIGHT, Upstream, WeightError};
