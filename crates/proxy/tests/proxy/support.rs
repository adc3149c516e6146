//! What these tests send, besides what they share with others.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt as _, Empty};
use proxy::{
    BoxError, Pool, PoolOptions, Proxy, ProxyError, ResponseBody, Server, Timeouts, Upstream,
};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;

pub(crate) use test_peer::{
    Fake, HELLO, SHORT, full, pieces, read_head, read_rest, read_to, until, within, write, written,
};

/// How a server is reached.
pub(crate) trait Proxied {
    fn server(&self) -> Server;
    fn proxy(&self) -> Proxy;
    fn proxy_with(&self, timeouts: Timeouts) -> Proxy;
}

impl Proxied for Fake {
    fn server(&self) -> Server {
        Server::tcp(self.address)
    }

    fn proxy(&self) -> Proxy {
        proxy(self.server())
    }

    fn proxy_with(&self, timeouts: Timeouts) -> Proxy {
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
