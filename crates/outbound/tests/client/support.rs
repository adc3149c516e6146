//! What these tests send, besides what they share with others.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt as _, Empty};
use outbound::{BoxError, Client, Error, Options, ResponseBody, Timeouts};
use outbound_policy::{Grant, Policy};

pub(crate) use test_peer::{
    Fake as Upstream, LONG, SHORT, full, pieces, read_head, read_rest, until, within, written,
};

/// How a server is reached.
pub(crate) trait Called {
    /// A client that may call this server by its address.
    fn client(&self) -> Client;
}

impl Called for Upstream {
    fn client(&self) -> Client {
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
