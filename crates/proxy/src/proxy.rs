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

use crate::exchange::{Exchange, Interest};
use crate::fields::{self, Asked};
use crate::pool::{Connection, Pool};
use crate::request_body::RequestBody;
use crate::response_body::Kept;
use crate::socket::Lease;
use crate::{BoxError, ProxyError, ResponseBody, Server, Timeouts, Tunnel, Upstream};

/// How long a server is waited for to say that it wants a body, as `expect: 100-continue` has it.
/// Servers that do not know it say nothing (RFC 9110, section 10.1.1).
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

/// Sends requests on to the servers of one upstream. A clone is the same proxy, and costs next to nothing.
#[derive(Clone, Debug)]
pub struct Proxy(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    upstream: Upstream,
    pool: Pool,
    timeouts: Timeouts,
}

impl Proxy {
    /// A proxy that keeps its connections in `pool`. It needs no runtime, and connects to nothing.
    pub fn new(upstream: Upstream, pool: Pool, timeouts: Timeouts) -> Self {
        Self(Arc::new(Inner {
            upstream,
            pool,
            timeouts,
        }))
    }

    /// Sends a request to the server whose turn it is, and waits for the head of its response. It has
    /// to be polled within a tokio runtime with I/O and time. Dropping the future cancels the request,
    /// and closes its connection.
    ///
    /// The target is the URI's path and query as they are, so whoever rewrites one has to encode it;
    /// scheme and authority do not count, but for the `host` field of a request that has none. The
    /// crate's documentation says what becomes of the fields.
    ///
    /// For an upgrade to WebSocket, the request has to be as hyper's server gave it: its extensions
    /// lead to the client's connection. See [`tunnel`](crate::tunnel()).
    ///
    /// # Errors
    ///
    /// When there is no response, for which [`ProxyError::status`] has an answer; it is in the log then.
    /// A response of any status is a response.
    pub async fn send<B>(&self, request: Request<B>) -> Result<Response<ResponseBody>, ProxyError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.send_with(request, ()).await
    }

    /// The same, and keeps `lease` for as long as the request's connection is open: while it waits for one,
    /// until its response and its body are over, for all of its tunnel, and while the connection is idle, until
    /// the next request has it, with its own lease. So connections can be counted, by permits for instance.
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

    /// Closes the connection that has been idle for the longest time, of whichever server and proxy of the
    /// same pool, so that its lease is free for another. Returns whether there was one.
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
        let is_none = body.is_end_stream();
        let length = fields::known_length(&head, body.size_hint().exact(), is_none)?;
        let asked = fields::prepare_request(&mut head, length);
        head.uri = target(&head.uri);
        // The client's version is that of another connection, as are its extensions.
        head.version = Version::HTTP_11;
        head.extensions = Extensions::new();
        let body = match length {
            // There is nothing to be read, whatever the body has.
            Length::None => SentBody::new(Empty::new(), None),
            Length::Exactly(0) => SentBody::new(Empty::new(), Some(0)),
            Length::Exactly(length) => SentBody::new(body, Some(length)),
            Length::Unknown => SentBody::new(body, None),
        };
        let interest = Interest::new(Exchange::new(body), self.0.timeouts.after_response);
        let job = Job {
            proxy: &self.0,
            server,
            asked,
            length,
            lease,
            client: asked.upgrade.then_some(client),
        };
        job.run(head, interest).await
    }
}

/// One request.
struct Job<'a> {
    proxy: &'a Inner,
    server: &'a Server,
    asked: Asked,
    /// What is known of the body's length without reading it.
    length: Length,
    lease: Lease,
    client: Option<OnUpgrade>,
}

/// An attempt that came to nothing.
enum Failed {
    /// Nothing was sent, and here it is again.
    Unsent(Parts),
    For(ProxyError),
}

impl Job<'_> {
    async fn run(
        self,
        head: Parts,
        interest: Interest,
    ) -> Result<Response<ResponseBody>, ProxyError> {
        let exchange = Arc::clone(interest.exchange());
        let method = head.method.clone();
        if self.reads_ahead() {
            exchange.read_ahead(&method).await?;
        }
        let mut head = match self.proxy.pool.take(self.server) {
            None => head,
            Some(mut kept) => {
                // The server may have closed it at this moment.
                let copy = method.is_idempotent().then(|| head.clone());
                let mut head = head;
                self.tell_length(&mut head, &exchange);
                match self.attempt(&mut kept, head, &exchange).await {
                    Ok(response) => return self.finish(response, kept, interest),
                    Err(Failed::Unsent(head)) => head,
                    // RFC 9110, section 9.2.2: nothing but what does no harm when done twice.
                    Err(Failed::For(error)) => match copy {
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
        self.tell_length(&mut head, &exchange);
        match self.attempt(&mut connection, head, &exchange).await {
            Ok(response) => self.finish(response, connection, interest),
            Err(Failed::Unsent(_)) => Err(ProxyError::Terminated),
            Err(Failed::For(error)) => Err(exchange.explain(error)),
        }
    }

    /// Whether the body may turn out to be a short one. One that the server is to ask for first is not read
    /// before: the client would be asked for it then.
    fn reads_ahead(&self) -> bool {
        self.length == Length::Unknown && !self.asked.proceed
    }

    fn tell_length(&self, head: &mut Parts, exchange: &Exchange) {
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
    ) -> Result<Response<Incoming>, Failed> {
        let mut request = Request::from_parts(head, RequestBody::new(Arc::clone(exchange)));
        if self.asked.proceed {
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
            if self.asked.proceed {
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
                Some(request) => Failed::Unsent(request.into_parts().0),
                None => Failed::For(ProxyError::of_sending(error.error())),
            }),
            None => Err(Failed::For(ProxyError::ResponseTimeout)),
        }
    }

    fn finish(
        self,
        response: Response<Incoming>,
        connection: Connection,
        interest: Interest,
    ) -> Result<Response<ResponseBody>, ProxyError> {
        let (mut head, incoming) = response.into_parts();
        let is_kept = fields::prepare_response(&mut head.headers, head.status, self.asked)?;
        if head.status.is_success() {
            // Who does not refuse what is announced wants it, though it does not say so first.
            interest.exchange().release();
        }
        let switched = head.extensions.remove::<OnUpgrade>();
        head.extensions = Extensions::new();
        head.version = Version::HTTP_11;
        let timeouts = &self.proxy.timeouts;
        let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
        let kept = (is_kept && !switches).then(|| Kept {
            connection,
            pool: self.proxy.pool.clone(),
        });
        let server = self.server.clone();
        let mut body = ResponseBody::new(incoming, timeouts.read, interest, server, kept);
        if let (true, Some(client), Some(server)) = (switches, self.client, switched) {
            body.tunnel = Some(Tunnel::new(client, server, *timeouts));
        }
        Ok(Response::from_parts(head, body))
    }
}

/// The URI to write into the request line: nothing but path and query (RFC 9112, section 3.2.1), or
/// the asterisk of `OPTIONS`.
fn target(uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned();
    Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
}
