//! A reverse proxy: forwards requests to other HTTP/1.1 servers, and streams their responses back. Configurations,
//! routing, listeners and clients are not its business.
//!
//! ```text
//!            ┌─ Upstream: load balancing      ┌─ Pool: an idle one, or connect
//! Request ───┴─▶ fields, length ──────────────┴─▶ connection ─▶ fields, length ────────────▶ Response
//!    │ NoServer   │ RequestFraming                 │  ▲ Connect, ConnectTimeout │ Protocol    │ body
//!    ▼            │ Method                         │  │ Terminated, …Timeout    │             ▼
//!   body ─────────────────────────────────────────┘  └── 101: Tunnel           ResponseIncomplete,
//!    RequestBody, RequestBodySize                                               BodyTimeout
//! ```
//!
//! - [`Upstream`] has servers and their weights. [`Server`] is an address.
//! - [`Pool`] has the keep-alive connections. It may be shared, and outlive a configuration.
//! - [`Proxy`] combines both with [`Timeouts`]; [`Proxy::send`] is all that it does.
//! - [`ProxyError`] says what failed, and which status to answer with. It has been logged.
//! - [`Tunnel`] has the two connections of a WebSocket.
//!
//! # Like Unit
//!
//! - Load balancing is by weight; there is no fail-over, see [`Upstream`].
//! - The `host` field is the client's, and so is the target, unless the caller has rewritten it.
//! - No `x-forwarded-*`, `forwarded` or `via` is added, and those of the request are forwarded.
//! - `server` is dropped from responses, since this server names itself; `date` is not.
//! - No redirect is followed, no `location` or cookie rewritten, and no error of a server replaced.
//! - A server that cannot be reached, closes, or does not speak HTTP is a 502; one that takes too long is
//!   a 504. [`Timeouts`] are Unit's.
//!
//! # Unlike Unit
//!
//! - Connections are kept alive. Unit asks for each to be closed.
//! - Bodies stream; Unit reads a request's whole body first. `expect: 100-continue` is forwarded: the body waits
//!   for the server's `100 Continue`, for a second at most.
//! - A body without a length is sent in chunks, unless all of it (64 KiB at most) has come before the
//!   connection to the server is established, or without a pause: then the server is sent its length. A request
//!   without a body gets `content-length: 0` if its method is POST, PUT or PATCH.
//! - WebSockets are supported.
//! - All hop-by-hop fields are dropped, and the first 32 that `connection` names; Unit drops `connection` and
//!   `transfer-encoding` alone.
//! - Names of fields are in lower case, and a response's reason phrase is the standard one.
//! - A machine without free sockets is a 503.
//!
//! # Framing, against smuggling
//!
//! The length of a message is decided once, and written again. A message that could be read in two ways is not
//! forwarded.
//!
//! | what | a request | a response |
//! | --- | --- | --- |
//! | `content-length` several times, the same | sent once | sent once |
//! | different values, or not a number | refused | 502 |
//! | `transfer-encoding` with `content-length` | refused | 502, as in Unit |
//! | `transfer-encoding` other than just `chunked` | refused | 502 |
//! | `transfer-encoding` in HTTP/1.0 | the client's parser's | 502 |
//! | a folded line, a bare CR, a NUL, space before the colon | the client's parser's | 502 |
//! | a bare LF at a line's end | the client's parser's | accepted, in the header section only |
//! | a body that is shorter, or malformed chunks | cut off, in an error | cut off, in an error |
//! | a body that is longer | cut off before its last byte, in an error | ends, and the connection is closed |
//! | 1xx | – | dropped: hyper's server cannot send them |
//! | 426 | – | with `upgrade`, which a client of HTTP/1 needs |
//! | HEAD, 204, 304 | – | no body, even if the fields announce one |
//! | trailers | if `trailer` announces them, and without framing | without framing |
//! | `CONNECT` | refused | – |
//!
//! Response smuggling: bytes that a server sends before a request are never read as the response to it. An idle
//! connection on which bytes have come is closed instead of being reused.
//!
//! # Retries
//!
//! A server may close an idle connection at the moment in which a request is sent on it. The request is then sent on a
//! new connection, once, if
//!
//! - nothing of it was written; or
//! - its method is idempotent (RFC 9110, section 9.2.2), no piece of its body was read, and no byte of a response has
//!   come.
//!
//! On a new connection nothing is retried.
//!
//! # Why not hyper-util's pool
//!
//! `hyper-util`'s pooled client does not say whether a connection was an idle one, or whether a byte came before it
//! failed, which retries depend on; it does not retry what was written; and its destinations are URIs, which cannot
//! express a Unix socket. So hyper's HTTP/1 connections are used directly.
//!
//! # Limits
//!
//! | what | limit |
//! | --- | --- |
//! | idle connections | [`PoolOptions`]: 32 to one server, each for 60 seconds |
//! | connections in use | one for each request in progress; a caller counts them by [`Proxy::send_with`] |
//! | the rest of a request's body after its response | 64 MiB, within [`Timeouts::after_response`] |
//! | a response's header section, or its trailers | 64 KiB, as in Unit, and 256 fields |
//! | bytes of a request's body that are read before its head is sent | 64 KiB, and the rest of the last piece |
//! | buffers of a connection | 128 KiB each way |
//! | buffers of a tunnel | 16 KiB each way |
//! | the wait for a response after the server has stopped reading | 1 second |
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
mod limits;
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
pub use tunnel::{Tunnel, TunnelError};
pub use upstream::{MAX_WEIGHT, Upstream, WeightError};
