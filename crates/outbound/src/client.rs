use std::any::Any;
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

use crate::connect::{ConnectionLimit, Connector};
use crate::exchange::{Exchange, Interest};
use crate::request_body::RequestBody;
use crate::response_body::ResponseBody;
use crate::tls::Tls;
use crate::{BoxError, Error, Timeouts, fields};

/// To one scheme, host and port.
const IDLE_CONNECTIONS: usize = 32;
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Of a response's header section; with HTTP/1 also the size of the buffer for reading.
pub(crate) const HEADER_BYTES: usize = 64 * 1024;
pub(crate) const HEADER_FIELDS: usize = 256;
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// An HTTP/2 connection is shared: one that has gone silent is to be noticed before every request
/// on it has waited for its timeout.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends the requests of one application. A clone uses the same connections and limits.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    policy: Policy,
    pool: legacy::Client<Connector, RequestBody>,
    requests: Arc<Semaphore>,
}

/// How a [`Client`] differs from the usual.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose signatures on certificates to trust. Default (`None`): `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` if they are set, else the system's, else Mozilla's list as it was when this
    /// was built. The default is read once in a process, when TLS is first needed; what could not
    /// be read is logged.
    pub roots: Option<RootCertStore>,
    /// Requests in progress. A request is in progress until both bodies have ended or are dropped.
    /// Default: 512. One more ends in [`Error::ConnectionLimit`] at once.
    pub requests: usize,
    /// Open connections, idle ones included. Default: 1,024. A request that needs one more ends in
    /// [`Error::ConnectionLimit`] at once.
    pub connections: usize,
    /// What several clients share, if they do. A connection that it does not allow ends in
    /// [`Error::ConnectionLimit`], too.
    pub budget: Option<Arc<dyn ConnectionBudget>>,
}

/// A limit of connections that several clients share.
pub trait ConnectionBudget: fmt::Debug + Send + Sync {
    /// Allows one more connection, until what is returned is dropped; `None` at the limit. It is called
    /// before each connection is opened.
    fn try_acquire(self: Arc<Self>) -> Option<Box<dyn Any + Send + Sync>>;
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
    /// A client with an empty pool. It reads no file and needs no runtime.
    pub fn new(policy: Policy) -> Self {
        Self::with_options(policy, Options::default())
    }

    /// The same with other options.
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
        Self(Arc::new(Shared {
            policy,
            pool,
            requests: Arc::new(Semaphore::new(options.requests.min(Semaphore::MAX_PERMITS))),
        }))
    }

    /// What this client may call.
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// Sends a request, and waits for the head of its response. The future owns a clone of the
    /// client; it has to be polled within a tokio runtime with I/O and time. Dropping it cancels the
    /// request.
    ///
    /// The URI has to be absolute. `host` is set from it, whatever the field says. Fields that
    /// belong to one connection are left out: `connection` and what it names, `keep-alive`,
    /// `proxy-*`, `te` but for `trailers`, `transfer-encoding`; so is `expect`. The response lacks
    /// such fields, too. Trailers are sent over HTTP/1.1 if a `trailer` field announces them and
    /// there is no `content-length`.
    ///
    /// With a `content-length` the body's last piece is sent once the body has ended, when its
    /// length is known to be right. A body of unknown length is read ahead, until 64 KiB are there and as long
    /// as it is written without a pause: one that ends by then is sent with its length, all others in
    /// chunks. Of an empty one nothing is told, or `content-length: 0` with POST, PUT and PATCH. A pause
    /// is one of some milliseconds; before the first byte of a `GET`, `HEAD`, `DELETE`, `OPTIONS` or
    /// `TRACE` it is one of a second.
    ///
    /// Interim responses (1xx) are passed over: `wasi:http` has no words for them.
    ///
    /// # Errors
    ///
    /// When there is no response; see [`Error`]. A response of any status is a response.
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

impl Shared {
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
        // The connection decides on the version, and nobody's extensions are hyper's business.
        head.version = Version::HTTP_11;
        head.extensions = Extensions::new();
        let announced = fields::prepare(&mut head.headers)?;

        let permit = Arc::clone(&self.requests)
            .try_acquire_owned()
            .map_err(|_| Error::ConnectionLimit)?;
        let exchange = Exchange::new(permit);
        let interest = Interest::new(Arc::clone(&exchange));
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
        let response = responded(sending, connected, timeouts, interest.exchange()).await;
        let response = response.map_err(|error| interest.exchange().explain(error))?;

        let (mut head, incoming) = response.into_parts();
        // With HTTP/1 hyper takes somewhat more when it arrives at once. With HTTP/2 it counts no fields.
        if fields::size(&head.headers) > HEADER_BYTES || head.headers.len() > HEADER_FIELDS {
            return Err(Error::ResponseHeaderTooLarge);
        }
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            let reason = "it switches protocols without being asked";
            return Err(Error::Protocol(reason.to_owned()));
        }
        let framing = Framing::of(&head.headers);
        let framing = framing.map_err(|error| Error::Protocol(error.to_string()))?;
        // RFC 9110, section 8.6, and RFC 9112, section 6.1. Who announces a body here may send one,
        // which would be taken for the next response.
        if head.status == StatusCode::NO_CONTENT
            && framing.announces_content()
            && let Some(connection) = &*connection.connection_metadata()
        {
            connection.poison();
        }
        fields::prepare_response(&mut head.headers);
        head.extensions = Extensions::new();
        let body = ResponseBody::new(incoming, timeouts.to_next_bytes(), interest);
        Ok(Response::from_parts(head, body))
    }

    /// Where to, if that is allowed. Where nothing is, there is not even a malformed URI.
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

/// The response's head, within the time there is to connect and then to answer.
async fn responded(
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
        let edge = exchange.moved().max(connected) + timeouts.to_first_byte();
        tokio::select! {
            biased;
            response = &mut sending => return response.map_err(failed),
            () = sleep_until(edge) => {}
        }
        // The body may have moved on meanwhile.
        if exchange.moved().max(connected) + timeouts.to_first_byte() <= Instant::now() {
            return Err(Error::FirstByteTimeout);
        }
    }
}

/// The URI to call: what was checked, and the path of the request.
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
