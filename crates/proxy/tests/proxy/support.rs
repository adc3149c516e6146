//! Servers, bodies, and what else these tests share.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Empty, Full};
use proxy::{
    BoxError, Pool, PoolOptions, Proxy, ProxyError, ResponseBody, Server, Timeouts, Upstream,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Far above what anything takes here that is to happen at all.
pub(crate) const LONG: Duration = Duration::from_secs(20);
/// What a test waits for.
pub(crate) const SHORT: Duration = Duration::from_millis(200);

pub(crate) const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// A server on a socket.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Fake {
    /// Hands every connection to `handle`, with its number.
    pub(crate) async fn start<F, R>(handle: F) -> Self
    where
        F: Fn(TcpStream, usize) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(handle(stream, number));
            }
        });
        Self { address, accepted }
    }

    /// Answers each request, whose body has to be none, with these bytes, and stays.
    pub(crate) async fn replies(reply: impl Into<Vec<u8>>) -> Self {
        let reply = Arc::new(reply.into());
        Self::start(move |mut stream, _| {
            let reply = Arc::clone(&reply);
            async move {
                while read_head(&mut stream).await.is_some() {
                    let _ = stream.write_all(&reply).await;
                }
            }
        })
        .await
    }

    /// Answers one request with these bytes, and closes.
    pub(crate) async fn replies_once(reply: impl Into<Vec<u8>>) -> Self {
        let reply = Arc::new(reply.into());
        Self::start(move |mut stream, _| {
            let reply = Arc::clone(&reply);
            async move {
                read_head(&mut stream).await;
                let _ = stream.write_all(&reply).await;
                let _ = stream.shutdown().await;
                read_rest(&mut stream).await;
            }
        })
        .await
    }

    /// Answers no request, and tells what it was sent until the connection ended.
    pub(crate) async fn listens() -> (Self, mpsc::Receiver<String>) {
        let (sender, received) = mpsc::channel(4);
        let fake = Self::start(move |mut stream, _| {
            let sender = sender.clone();
            async move {
                let rest = read_rest(&mut stream).await;
                sender.send(rest).await.unwrap();
            }
        })
        .await;
        (fake, received)
    }

    /// Says hello when it has read these bytes behind a head, tells what it read, and goes on.
    pub(crate) async fn answers_after(end: &'static str) -> (Self, mpsc::Receiver<String>) {
        let (sender, received) = mpsc::channel(4);
        let fake = Self::start(move |mut stream, _| {
            let sender = sender.clone();
            async move {
                while let Some(head) = read_head(&mut stream).await {
                    let body = read_to(&mut stream, end).await;
                    stream.write_all(HELLO.as_bytes()).await.unwrap();
                    sender.send(head + &body).await.unwrap();
                }
            }
        })
        .await;
        (fake, received)
    }

    pub(crate) fn connections(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    pub(crate) fn server(&self) -> Server {
        Server::tcp(self.address)
    }

    pub(crate) fn proxy(&self) -> Proxy {
        proxy(self.server())
    }

    pub(crate) fn proxy_with(&self, timeouts: Timeouts) -> Proxy {
        let pool = Pool::new(PoolOptions::default());
        Proxy::new(Upstream::single(self.server()), pool, timeouts)
    }
}

pub(crate) fn proxy(server: Server) -> Proxy {
    Proxy::new(
        Upstream::single(server),
        Pool::default(),
        Timeouts::default(),
    )
}

/// A request as a client sends it for `/path?query` of `a.example`.
pub(crate) fn request(method: &str, fields: &[(&str, &str)]) -> http::request::Builder {
    let mut request = Request::builder()
        .method(method)
        .uri("http://a.example/path?query")
        .header("host", "a.example:8080");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request
}

pub(crate) fn empty() -> Empty<Bytes> {
    Empty::new()
}

pub(crate) async fn send<B>(
    proxy: &Proxy,
    request: Request<B>,
) -> Result<Response<ResponseBody>, ProxyError>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    within(proxy.send(request)).await
}

pub(crate) async fn get(proxy: &Proxy) -> Result<Response<ResponseBody>, ProxyError> {
    send(proxy, request("GET", &[]).body(empty()).unwrap()).await
}

/// Sends a body with the fields that are given.
pub(crate) async fn post(
    proxy: &Proxy,
    fields: &[(&str, &str)],
    body: impl Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
) -> Result<Response<ResponseBody>, ProxyError> {
    send(proxy, request("POST", fields).body(body).unwrap()).await
}

/// All of a body.
pub(crate) async fn text(response: Response<ResponseBody>) -> Result<String, ProxyError> {
    let body = within(response.into_body().collect()).await?;
    Ok(String::from_utf8(body.to_bytes().to_vec()).unwrap())
}

/// What a server was sent for a request without a body, and what became of its response.
pub(crate) async fn exchange(
    method: &str,
    fields: &[(&str, &str)],
    reply: &str,
) -> (String, Result<Response<ResponseBody>, ProxyError>) {
    let (sender, mut received) = mpsc::channel(4);
    let reply = reply.to_owned();
    let fake = Fake::start(move |mut stream, _| {
        let (sender, reply) = (sender.clone(), reply.clone());
        async move {
            let head = read_head(&mut stream).await.unwrap();
            stream.write_all(reply.as_bytes()).await.unwrap();
            sender.send(head).await.unwrap();
            read_rest(&mut stream).await;
        }
    })
    .await;
    let response = send(
        &fake.proxy(),
        request(method, fields).body(empty()).unwrap(),
    )
    .await;
    (within(received.recv()).await.unwrap(), response)
}

/// What becomes of this response to a GET.
pub(crate) async fn outcome(reply: &str) -> Result<(Response<()>, String), ProxyError> {
    let fake = Fake::replies_once(reply).await;
    let (head, body) = get(&fake.proxy()).await?.into_parts();
    let body = within(body.collect()).await?.to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    Ok((Response::from_parts(head, ()), body))
}

pub(crate) fn fields(head: &http::HeaderMap) -> Vec<String> {
    head.iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect()
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.unwrap()
}

/// Waits until something is so.
pub(crate) async fn until(mut so: impl FnMut() -> bool) {
    within(async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A message's head, with the empty line. `None` when the connection ends before it.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

pub(crate) async fn read_to(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut all = Vec::new();
    while !all.ends_with(end.as_bytes()) {
        all.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(all).unwrap()
}

/// What comes until the connection is closed, however it is.
pub(crate) async fn read_rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut rest = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        rest.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8_lossy(&rest).into_owned()
}

pub(crate) async fn write(stream: &mut (impl AsyncWrite + Unpin), text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// A body that is written piece by piece, of a length that nobody knows.
pub(crate) struct Pieces(mpsc::UnboundedReceiver<Result<Frame<Bytes>, BoxError>>);

pub(crate) struct Writer(mpsc::UnboundedSender<Result<Frame<Bytes>, BoxError>>);

pub(crate) fn pieces() -> (Writer, Pieces) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Writer(sender), Pieces(receiver))
}

/// A body of these pieces.
pub(crate) fn written(pieces: &[&'static str]) -> Pieces {
    let (writer, body) = self::pieces();
    for piece in pieces {
        writer.write(piece);
    }
    body
}

impl Writer {
    pub(crate) fn write(&self, data: &'static str) {
        let frame = Frame::data(Bytes::from_static(data.as_bytes()));
        let _ = self.0.send(Ok(frame));
    }

    pub(crate) fn trailer(&self, name: &'static str, value: &'static str) {
        let mut fields = http::HeaderMap::new();
        fields.insert(name, value.parse().unwrap());
        fields.insert("content-length", "7".parse().unwrap());
        let _ = self.0.send(Ok(Frame::trailers(fields)));
    }

    pub(crate) fn fail(&self) {
        let _ = self.0.send(Err("the client left".into()));
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.0.is_closed()
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(cx)
    }
}

pub(crate) fn full(text: &'static str) -> Full<Bytes> {
    Full::new(Bytes::from_static(text.as_bytes()))
}
