//! One proxied request: the choice of a connection, a possible retry, and the head of the response.

use std::any::Any;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::TRAILER;
use http::request::Parts;
use http::uri::{PathAndQuery, Uri};
use http::{Extensions, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use http_body_util::Empty;
use http_message::{Length, SentBody};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::time::sleep;

use crate::exchange::{Exchange, UploadGuard};
use crate::fields::{self, HopOptions};
use crate::pool::{Connection, Pool};
use crate::request_body::RequestBody;
use crate::response_body::KeepAlive;
use crate::socket::Lease;
use crate::tunnel::Tunnel;
use crate::{BoxError, ProxyError, ResponseBody, Server, Timeouts, Upstream};

/// How long a `100 Continue` is waited for before the body is sent anyway: servers that do not support it send none
/// (RFC 9110, section 10.1.1).
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

/// Forwards requests to the servers of one upstream. A clone is the same proxy, and is cheap.
#[derive(Clone, Debug)]
pub struct Proxy(Arc<ProxyInner>);

#[derive(Debug)]
struct ProxyInner {
    upstream: Upstream,
    pool: Pool,
    timeouts: Timeouts,
}

impl Proxy {
    /// A proxy with its keep-alive connections in `pool`. It needs no runtime, and does not connect yet.
    pub fn new(upstream: Upstream, pool: Pool, timeouts: Timeouts) -> Self {
        Self(Arc::new(ProxyInner {
            upstream,
            pool,
            timeouts,
        }))
    }

    /// Sends a request to the server whose turn it is, and waits for the head of its response. It has to be polled
    /// within a tokio runtime with I/O and time. Dropping the future cancels the request and closes its connection.
    ///
    /// The request target is the URI's path and query, unchanged, so a caller that rewrites them has to encode them.
    /// Scheme and authority are not sent, except as the `host` field of a request without one. The crate's
    /// documentation says which fields are forwarded.
    ///
    /// For an upgrade to WebSocket, the request must have the extensions that hyper's server has set: they lead to the
    /// client's connection. See [`ResponseBody::take_tunnel`].
    ///
    /// # Errors
    ///
    /// If there is no response. The error is logged, and [`ProxyError::status`] is the status to answer with. A
    /// response of any status is not an error.
    pub async fn send<B>(&self, request: Request<B>) -> Result<Response<ResponseBody>, ProxyError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.send_with(request, ()).await
    }

    /// As [`Proxy::send`], and holds `lease` as long as the request's connection is open: while it is being
    /// established, until both bodies have ended, for the time of a tunnel, and while the connection is idle, until
    /// another request uses it with its own lease. So connections can be counted, by permits for instance.
    ///
    /// # Errors
    ///
    /// Those of [`Proxy::send`].
    pub async fn send_with<B, L>(
        &self,
        request: Request<B>,
        lease: L,
    ) -> Result<Response<ResponseBody>, ProxyError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
        L: Any + Send + Sync,
    {
        let Some(server) = self.0.upstream.choose() else {
            let error = ProxyError::NoServer;
            error.log(None);
            return Err(error);
        };
        let sent = self.send_to(&server, request, Arc::new(lease)).await;
        if let Err(error) = &sent {
            error.log(Some(&server));
        }
        sent
    }

    /// Closes the connection that has been idle for the longest time, of all servers and proxies of the same pool, so
    /// that its lease is free. Returns whether there was one.
    pub fn close_longest_idle(&self) -> bool {
        self.0.pool.close_longest_idle()
    }

    async fn send_to<B>(
        &self,
        server: &Server,
        mut request: Request<B>,
        lease: Lease,
    ) -> Result<Response<ResponseBody>, ProxyError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if request.method() == Method::CONNECT {
            return Err(ProxyError::Method);
        }
        let client = hyper::upgrade::on(&mut request);
        let (mut head, body) = request.into_parts();
        let is_empty = body.is_end_stream();
        let length = fields::known_length(&head, body.size_hint().exact(), is_empty)?;
        let options = fields::prepare_request(&mut head, length);
        head.uri = target(&head.uri);
        // Version and extensions are the client's connection's.
        head.version = Version::HTTP_11;
        head.extensions = Extensions::new();
        let body = match length {
            // The body is not read, even if it has bytes.
            Length::None => SentBody::new(Empty::new(), None),
            Length::Exactly(0) => SentBody::new(Empty::new(), Some(0)),
            Length::Exactly(length) => SentBody::new(body, Some(length)),
            Length::Unknown => SentBody::new(body, None),
        };
        let upload = UploadGuard::new(Exchange::new(body), self.0.timeouts.after_response);
        let attempts = Attempts {
            proxy: &self.0,
            server,
            options,
            length,
            lease,
            client: options.upgrade.then_some(client),
        };
        attempts.run(head, upload).await
    }
}

/// The attempts to send one request: at most two, the first of which is on an idle connection.
struct Attempts<'a> {
    proxy: &'a ProxyInner,
    server: &'a Server,
    options: HopOptions,
    /// The body's length as known without reading it.
    length: Length,
    lease: Lease,
    client: Option<OnUpgrade>,
}

/// Why an attempt failed.
enum AttemptError {
    /// Nothing of the request was written: its head, for another attempt.
    Unsent(Parts),
    Failed(ProxyError),
}

impl Attempts<'_> {
    async fn run(
        self,
        head: Parts,
        upload: UploadGuard,
    ) -> Result<Response<ResponseBody>, ProxyError> {
        let exchange = Arc::clone(upload.exchange());
        let method = head.method.clone();
        if self.reads_ahead() {
            exchange.read_ahead(&method).await?;
        }
        let mut head = match self.proxy.pool.take(self.server) {
            None => head,
            Some(mut kept) => {
                // For another attempt, since the server may be closing the connection at this moment.
                let copy = method.is_idempotent().then(|| head.clone());
                let mut head = head;
                self.write_length(&mut head, &exchange);
                match self.attempt(&mut kept, head, &exchange).await {
                    Ok(response) => return self.finish(response, kept, upload),
                    Err(AttemptError::Unsent(head)) => head,
                    // RFC 9110, section 9.2.2: only idempotent requests are retried.
                    Err(AttemptError::Failed(error)) => match copy {
                        Some(copy)
                            if matches!(error, ProxyError::Terminated)
                                && !kept.socket.has_received()
                                && exchange.is_whole() =>
                        {
                            copy
                        }
                        _ => return Err(exchange.explain(error)),
                    },
                }
            }
        };
        let connecting = Connection::open(self.server, &self.proxy.timeouts);
        let mut connection = if self.reads_ahead() {
            exchange.read_ahead_while(connecting).await?
        } else {
            connecting.await?
        };
        self.write_length(&mut head, &exchange);
        match self.attempt(&mut connection, head, &exchange).await {
            Ok(response) => self.finish(response, connection, upload),
            Err(AttemptError::Unsent(_)) => Err(ProxyError::Terminated),
            Err(AttemptError::Failed(error)) => Err(exchange.explain(error)),
        }
    }

    /// Whether the body is read before its head is sent, as it may be short. With `expect: 100-continue` it is not:
    /// reading it makes hyper ask the client for it.
    fn reads_ahead(&self) -> bool {
        self.length == Length::Unknown && !self.options.expects_continue
    }

    fn write_length(&self, head: &mut Parts, exchange: &Exchange) {
        let length = if self.reads_ahead() {
            exchange.decide(&head.method, head.headers.contains_key(TRAILER))
        } else {
            self.length
        };
        length.write(&mut head.headers);
    }

    async fn attempt(
        &self,
        connection: &mut Connection,
        head: Parts,
        exchange: &Arc<Exchange>,
    ) -> Result<Response<Incoming>, AttemptError> {
        let mut request = Request::from_parts(head, RequestBody::new(Arc::clone(exchange)));
        if self.options.expects_continue {
            exchange.hold();
            let exchange = Arc::clone(exchange);
            hyper::ext::on_informational(&mut request, move |interim| {
                if interim.status() == StatusCode::CONTINUE {
                    exchange.release();
                }
            });
        }
        connection.socket.begin(&self.lease);
        let mut sending = pin!(connection.sender.try_send_request(request));
        let response = async {
            if self.options.expects_continue {
                tokio::select! {
                    biased;
                    response = &mut sending => return Some(response),
                    () = sleep(CONTINUE_WAIT) => exchange.release(),
                }
            }
            if !exchange.is_sent() {
                tokio::select! {
                    biased;
                    response = &mut sending => return Some(response),
                    () = exchange.sent() => {}
                }
            }
            tokio::select! {
                biased;
                response = &mut sending => Some(response),
                () = sleep(self.proxy.timeouts.response) => None,
            }
        };
        match response.await {
            Some(Ok(response)) => Ok(response),
            Some(Err(mut error)) => Err(match error.take_message() {
                Some(request) => AttemptError::Unsent(request.into_parts().0),
                None => AttemptError::Failed(ProxyError::of_sending(error.error())),
            }),
            None => Err(AttemptError::Failed(ProxyError::ResponseTimeout)),
        }
    }

    fn finish(
        self,
        response: Response<Incoming>,
        connection: Connection,
        upload: UploadGuard,
    ) -> Result<Response<ResponseBody>, ProxyError> {
        let (mut head, incoming) = response.into_parts();
        let keeps_alive = fields::prepare_response(&mut head.headers, head.status, self.options)?;
        if head.status.is_success() {
            // A server that responds with success without a `100 Continue` may still want the body.
            upload.exchange().release();
        }
        let switched = head.extensions.remove::<OnUpgrade>();
        head.extensions = Extensions::new();
        head.version = Version::HTTP_11;
        let timeouts = &self.proxy.timeouts;
        let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
        let keep_alive = (keeps_alive && !switches).then(|| KeepAlive {
            connection,
            pool: self.proxy.pool.clone(),
        });
        let server = self.server.clone();
        let mut body = ResponseBody::new(incoming, timeouts.read, upload, server, keep_alive);
        if let (true, Some(client), Some(server)) = (switches, self.client, switched) {
            body.tunnel = Some(Tunnel::new(client, server, *timeouts));
        }
        Ok(Response::from_parts(head, body))
    }
}

/// The URI for the request line: path and query only (RFC 9112, section 3.2.1), or the asterisk of `OPTIONS`.
fn target(uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned();
    Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
}
