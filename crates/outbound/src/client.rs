//! The client: its options, and the way of one request through policy, limits, fields and pool.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::TRAILER;
use http::uri::{PathAndQuery, Uri};
use http::{Extensions, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use http_message::Framing;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::client::legacy::{self, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use outbound_policy::{Destination, Policy};
use rustls::RootCertStore;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until};

use crate::connect::Connector;
use crate::exchange::{Exchange, UploadGuard};
use crate::limits::{ConnectionBudget, ConnectionLimit, HEADER_BYTES, HEADER_FIELDS};
use crate::request_body::RequestBody;
use crate::response_body::ResponseBody;
use crate::tls::Tls;
use crate::{BoxError, Error, Timeouts, fields};

/// Idle connections to one scheme, host and port.
const IDLE_CONNECTIONS: usize = 32;
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// An HTTP/2 connection is shared: if its server is gone, that should be noticed before each request on it has waited
/// for its time-out.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends the requests of one application. A clone uses the same connections and limits.
#[derive(Clone)]
pub struct Client(Arc<ClientInner>);

struct ClientInner {
    policy: Policy,
    pool: legacy::Client<Connector, RequestBody>,
    requests: Arc<Semaphore>,
}

/// The options of a [`Client`].
#[derive(Clone, Debug)]
pub struct Options {
    /// The trusted root certificates. Default (`None`): those of `SSL_CERT_FILE` and `SSL_CERT_DIR` if they are set,
    /// else the system's, else Mozilla's list at the time of the build. The default is read once per process, when TLS
    /// is first needed; what could not be read is logged.
    pub roots: Option<RootCertStore>,
    /// Requests in progress. A request is in progress until both bodies have ended or are dropped.
    /// Default: 512. One more ends in [`Error::ConnectionLimit`] at once.
    pub requests: usize,
    /// Open connections, idle ones included. Default: 1,024. A request that needs one more ends in
    /// [`Error::ConnectionLimit`] at once.
    pub connections: usize,
    /// A limit that this client shares with others. A request whose connection it does not allow ends in
    /// [`Error::ConnectionLimit`], too. Default: none.
    pub budget: Option<Arc<dyn ConnectionBudget>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            roots: None,
            requests: 512,
            connections: 1024,
            budget: None,
        }
    }
}

impl Client {
    /// A client with an empty pool. It reads no file, and needs no runtime yet.
    pub fn new(policy: Policy) -> Self {
        Self::with_options(policy, Options::default())
    }

    /// As [`Client::new`], with other options.
    pub fn with_options(policy: Policy, options: Options) -> Self {
        let tls = Tls::new(options.roots);
        let limit = ConnectionLimit::new(options.connections, options.budget);
        let connector = Connector::new(policy.clone(), tls, limit);
        let pool = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .http1_max_buf_size(HEADER_BYTES)
            .http1_max_headers(HEADER_FIELDS)
            .http2_max_header_list_size(HEADER_BYTES as u32)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .build(connector);
        Self(Arc::new(ClientInner {
            policy,
            pool,
            requests: Arc::new(Semaphore::new(options.requests.min(Semaphore::MAX_PERMITS))),
        }))
    }

    /// What this client may send requests to.
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// Sends a request, and waits for the head of its response. The future owns a clone of the
    /// client; it has to be polled within a tokio runtime with I/O and time. Dropping it cancels the
    /// request.
    ///
    /// The URI must be absolute. The `host` field is set from it. Hop-by-hop fields are dropped: `connection` and the
    /// first 32 that it names, `keep-alive`, `proxy-*`, `te` except `trailers`, `transfer-encoding`; so is `expect`.
    /// They are dropped from the response, too. Trailers are sent over HTTP/1.1 if a `trailer` field announces them and
    /// there is no `content-length`.
    ///
    /// With a `content-length` the last piece of the body is sent only once the body has ended, so that a body that
    /// turns out to be longer is not sent as a complete one. A body of unknown length is read ahead, up to 64 KiB and
    /// until it pauses: one that ends by then is sent with its length, all others in chunks. An empty body is sent
    /// without framing, or with `content-length: 0` for POST, PUT and PATCH. A pause is a few milliseconds, or a second
    /// before the first byte of a `GET`, `HEAD`, `DELETE`, `OPTIONS` or `TRACE`.
    ///
    /// Interim responses (1xx) are dropped: `wasi:http` cannot express them.
    ///
    /// # Errors
    ///
    /// If there is no response; see [`Error`]. A response of any status is not an error.
    pub fn send<B>(
        &self,
        request: Request<B>,
        timeouts: Timeouts,
    ) -> impl Future<Output = Result<Response<ResponseBody>, Error>> + Send + use<B>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let shared = Arc::clone(&self.0);
        async move { shared.send(request, timeouts).await }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("policy", &self.0.policy)
            .finish_non_exhaustive()
    }
}

impl ClientInner {
    async fn send<B>(
        &self,
        request: Request<B>,
        timeouts: Timeouts,
    ) -> Result<Response<ResponseBody>, Error>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let destination = self.destination(request.uri())?;
        let (mut head, body) = request.into_parts();
        if head.method == Method::CONNECT {
            return Err(Error::Method);
        }
        head.uri = absolute(&destination, head.uri.path_and_query())?;
        // The version is the connection's, and extensions of the guest's request must not reach hyper.
        head.version = Version::HTTP_11;
        head.extensions = Extensions::new();
        let announced = fields::prepare(&mut head.headers)?;

        let permit = Arc::clone(&self.requests)
            .try_acquire_owned()
            .map_err(|_| Error::ConnectionLimit)?;
        let exchange = Exchange::new(permit);
        let upload = UploadGuard::new(Arc::clone(&exchange));
        let mut body = RequestBody::new(body, announced, exchange);
        let keeps_trailers = head.headers.contains_key(TRAILER);
        if let Some(length) = body.length(&head.method, keeps_trailers).await? {
            length.write(&mut head.headers);
        }

        let mut request = Request::from_parts(head, body);
        let mut connection = capture_connection(&mut request);
        let connected = async {
            connection.wait_for_connection_metadata().await;
        };
        let sending = self.pool.request(request);
        let response = response_head(sending, connected, timeouts, upload.exchange()).await;
        let response = response.map_err(|error| upload.exchange().explain(error))?;

        let (mut head, incoming) = response.into_parts();
        // hyper accepts somewhat more over HTTP/1 if it arrives in one read, and does not count fields over HTTP/2.
        if fields::size(&head.headers) > HEADER_BYTES || head.headers.len() > HEADER_FIELDS {
            return Err(Error::ResponseHeaderTooLarge);
        }
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            let reason = "a 101 response without a request for an upgrade";
            return Err(Error::Protocol(reason.to_owned()));
        }
        let framing = Framing::of(&head.headers);
        let framing = framing.map_err(|error| Error::Protocol(error.to_string()))?;
        // Response smuggling: a 204 has no body (RFC 9110, section 8.6, and RFC 9112, section 6.1), but a server that
        // announces one may send it, and it would be read as the next response.
        if head.status == StatusCode::NO_CONTENT
            && framing.announces_content()
            && let Some(connection) = &*connection.connection_metadata()
        {
            connection.poison();
        }
        fields::prepare_response(&mut head.headers);
        head.extensions = Extensions::new();
        let body = ResponseBody::new(incoming, timeouts.to_next_bytes(), upload);
        Ok(Response::from_parts(head, body))
    }

    /// The destination, if the policy allows it. With an empty policy the URI is not even parsed.
    fn destination(&self, uri: &Uri) -> Result<Destination, Error> {
        if self.policy.is_empty() {
            return Err(Error::Denied("anywhere".to_owned()));
        }
        let destination = Destination::of(uri)?;
        if self.policy.allows(&destination) {
            Ok(destination)
        } else {
            Err(Error::Denied(destination.to_string()))
        }
    }
}

/// Waits for the response's head, within the time-outs for connecting and for the first byte.
async fn response_head(
    sending: ResponseFuture,
    connected: impl Future<Output = ()>,
    timeouts: Timeouts,
    exchange: &Exchange,
) -> Result<Response<hyper::body::Incoming>, Error> {
    let failed = |error| Error::of_sending(&error);
    let mut sending = pin!(sending);
    tokio::select! {
        biased;
        response = &mut sending => return response.map_err(failed),
        () = connected => {}
        () = sleep(timeouts.to_connect()) => return Err(Error::ConnectTimeout),
    }
    let connected = Instant::now();
    loop {
        let deadline = exchange.last_progress().max(connected) + timeouts.to_first_byte();
        tokio::select! {
            biased;
            response = &mut sending => return response.map_err(failed),
            () = sleep_until(deadline) => {}
        }
        // The upload may have made progress meanwhile.
        if exchange.last_progress().max(connected) + timeouts.to_first_byte() <= Instant::now() {
            return Err(Error::FirstByteTimeout);
        }
    }
}

/// The URI to send: the destination that was checked, and the path of the request.
fn absolute(destination: &Destination, path: Option<&PathAndQuery>) -> Result<Uri, Error> {
    let path = path
        .cloned()
        .unwrap_or_else(|| PathAndQuery::from_static("/"));
    Uri::builder()
        .scheme(destination.scheme().to_string().as_str())
        .authority(destination.authority())
        .path_and_query(path)
        .build()
        .map_err(|error| Error::Protocol(error.to_string()))
}
