//! A client of HTTP/2, with prior knowledge: hyper's, with deadlines.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::{DEADLINE, FrontEnd, Need, Running};

/// A connection of HTTP/2 with prior knowledge. Each wait has a deadline.
pub struct Http2 {
    runtime: Runtime,
    sender: SendRequest<BoxBody<Bytes, Infallible>>,
}

/// A response, or what was received of it.
#[derive(Debug)]
pub struct Http2Response {
    /// Status and fields.
    pub head: http::response::Parts,
    /// The content.
    pub body: Vec<u8>,
    /// After the content.
    pub trailers: Option<HeaderMap>,
    /// False if the stream was reset before its end.
    pub whole: bool,
}

impl Http2 {
    /// Connects to the address that `{name}` became, where the front end speaks HTTP/2.
    #[must_use]
    pub fn offered(front: &impl FrontEnd, server: &Running, name: &str) -> Option<Self> {
        let speaks = front.lacks(Need::Http2).is_none();
        speaks.then(|| Self::connect(server.address(name)))
    }

    /// Connects.
    ///
    /// # Panics
    ///
    /// When no server that speaks HTTP/2 is listening.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        // Its own thread, so that the connection makes progress while a case does not wait for it.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let connect = async {
            let stream = TcpStream::connect(address).await.unwrap();
            let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
            tokio::spawn(connection);
            sender
        };
        let sender = wait(&runtime, DEADLINE, connect);
        Self { runtime, sender }
    }

    /// Runs the future, for at most [`DEADLINE`].
    ///
    /// # Panics
    ///
    /// When it takes longer.
    #[track_caller]
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.wait_for(DEADLINE, future)
    }

    /// Runs the future, for at most `limit`.
    ///
    /// # Panics
    ///
    /// When it takes longer.
    #[track_caller]
    pub fn wait_for<T>(&self, limit: Duration, future: impl Future<Output = T>) -> T {
        wait(&self.runtime, limit, future)
    }

    /// Sends a `GET` request and reads the response.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Http2Response {
        let response = self.begin(request("GET", path).body(empty()).unwrap());
        self.read(response)
    }

    /// Sends a request, and waits for the head of its response.
    ///
    /// # Panics
    ///
    /// When the stream is reset, or the connection ends.
    #[track_caller]
    pub fn begin(&mut self, request: Request<BoxBody<Bytes, Infallible>>) -> Response<Incoming> {
        match self.try_begin(request) {
            Ok(response) => response,
            Err(error) => panic!("no response: {error:?}"),
        }
    }

    /// Sends a request that the server may leave unanswered.
    ///
    /// # Errors
    ///
    /// When the stream is reset, or the connection ends.
    #[track_caller]
    pub fn try_begin(
        &mut self,
        request: Request<BoxBody<Bytes, Infallible>>,
    ) -> hyper::Result<Response<Incoming>> {
        let response = self.sender.send_request(request);
        self.wait(response)
    }

    /// Reads the rest of a response.
    #[track_caller]
    pub fn read(&mut self, response: Response<Incoming>) -> Http2Response {
        self.wait(read(response))
    }

    /// Runs the future concurrently.
    pub fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime.spawn(future)
    }

    /// Sends requests on this connection, for several concurrent ones.
    #[must_use]
    pub fn sender(&self) -> SendRequest<BoxBody<Bytes, Infallible>> {
        self.sender.clone()
    }
}

#[track_caller]
fn wait<T>(runtime: &Runtime, limit: Duration, future: impl Future<Output = T>) -> T {
    match runtime.block_on(async { tokio::time::timeout(limit, future).await }) {
        Ok(value) => value,
        Err(_) => panic!("not within {limit:?}"),
    }
}

/// A request to this path.
pub fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(format!("http://localhost{path}"))
}

/// No body.
pub fn empty() -> BoxBody<Bytes, Infallible> {
    full("")
}

/// A body in memory.
pub fn full(text: impl Into<Bytes>) -> BoxBody<Bytes, Infallible> {
    Full::new(text.into()).boxed()
}

/// Reads a response to its end.
pub async fn read(response: Response<Incoming>) -> Http2Response {
    let (head, mut incoming) = response.into_parts();
    let mut body = Vec::new();
    let mut trailers = None;
    let mut whole = true;
    while let Some(frame) = incoming.frame().await {
        let Ok(frame) = frame else {
            whole = false;
            break;
        };
        match frame.into_data() {
            Ok(data) => body.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Http2Response {
        head,
        body,
        trailers,
        whole,
    }
}

impl Http2Response {
    /// Status, content and whether it is complete, for comparison.
    #[must_use]
    pub fn summary(&self) -> (u16, String, bool) {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        (self.head.status.as_u16(), text, self.whole)
    }
}
