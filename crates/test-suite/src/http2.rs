//! A client of HTTP/2.

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

/// A response, as far as it came.
#[derive(Debug)]
pub struct Answer {
    /// Status and fields.
    pub head: http::response::Parts,
    /// The content.
    pub body: Vec<u8>,
    /// The fields behind it.
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
    /// When nobody listens who speaks HTTP/2.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        // A thread of its own, so that the connection goes on while a case looks elsewhere.
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

    /// Asks for `path` and reads the response.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Answer {
        let response = self.begin(request("GET", path).body(empty()).unwrap());
        self.read(response)
    }

    /// Sends a request, and waits for the head of its response.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[track_caller]
    pub fn begin(&mut self, request: Request<BoxBody<Bytes, Infallible>>) -> Response<Incoming> {
        match self.try_begin(request) {
            Ok(response) => response,
            Err(error) => panic!("no response: {error:?}"),
        }
    }

    /// Sends a request that may get no response.
    ///
    /// # Errors
    ///
    /// When it gets none.
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
    pub fn read(&mut self, response: Response<Incoming>) -> Answer {
        self.wait(read(response))
    }

    /// Runs the future beside others.
    pub fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime.spawn(future)
    }

    /// What sends requests on this connection, for several at a time.
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

/// A body that is there already.
pub fn full(text: impl Into<Bytes>) -> BoxBody<Bytes, Infallible> {
    Full::new(text.into()).boxed()
}

/// Reads a response to its end.
pub async fn read(response: Response<Incoming>) -> Answer {
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
    Answer {
        head,
        body,
        trailers,
        whole,
    }
}

impl Answer {
    /// Status, content and whether it is whole, for comparison.
    #[must_use]
    pub fn summary(&self) -> (u16, String, bool) {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        (self.head.status.as_u16(), text, self.whole)
    }
}
