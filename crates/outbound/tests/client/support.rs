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
use outbound::{BoxError, Client, Error, Options, ResponseBody, Timeouts};
use outbound_policy::{Grant, Policy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Far above what anything takes here that is to happen at all.
pub(crate) const LONG: Duration = Duration::from_secs(20);
/// What a test waits for.
pub(crate) const SHORT: Duration = Duration::from_millis(200);

/// A server on a socket, without manners of its own.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Upstream {
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

    pub(crate) fn uri(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// A client that may call this server by its address.
    pub(crate) fn client(&self) -> Client {
        client(&[&format!("http://{}", self.address)])
    }
}

pub(crate) fn policy(grants: &[&str]) -> Policy {
    Policy::new(grants.iter().map(|text| Grant::parse(text).unwrap()))
}

pub(crate) fn client(grants: &[&str]) -> Client {
    // No test is to depend on the machine's roots.
    let roots = Some(rustls::RootCertStore::empty());
    let options = Options {
        roots,
        ..Options::default()
    };
    Client::with_options(policy(grants), options)
}

pub(crate) fn request(uri: &str) -> Request<Empty<Bytes>> {
    Request::get(uri).body(Empty::new()).unwrap()
}

pub(crate) async fn get(client: &Client, uri: &str) -> Result<Response<ResponseBody>, Error> {
    within(client.send(request(uri), Timeouts::default())).await
}

/// Sends a body with the fields that are given.
pub(crate) async fn post(
    client: &Client,
    uri: &str,
    fields: &[(&str, &str)],
    body: impl Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
) -> Result<Response<ResponseBody>, Error> {
    let mut request = Request::post(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    within(client.send(request.body(body).unwrap(), Timeouts::default())).await
}

/// All of a body.
pub(crate) async fn text(response: Response<ResponseBody>) -> Result<String, Error> {
    let body = within(response.into_body().collect()).await?;
    Ok(String::from_utf8(body.to_bytes().to_vec()).unwrap())
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
pub(crate) async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

/// What comes until the connection is closed, however it is.
pub(crate) async fn read_rest(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        rest.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8_lossy(&rest).into_owned()
}

/// A body that is written piece by piece, of a length that nobody knows.
pub(crate) struct Pieces(mpsc::Receiver<Result<Frame<Bytes>, BoxError>>);

pub(crate) struct Writer(mpsc::Sender<Result<Frame<Bytes>, BoxError>>);

pub(crate) fn pieces() -> (Writer, Pieces) {
    let (sender, receiver) = mpsc::channel(16);
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
        self.0.try_send(Ok(frame)).unwrap();
    }

    pub(crate) fn fail(&self) {
        self.0.try_send(Err("the guest trapped".into())).unwrap();
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
