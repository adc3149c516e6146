//! HEAD over HTTP/2, for what the server answers by itself.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderValue, Request};
use server::{Metrics, Pass};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::frames::{
    DATA, END_HEADERS, END_STREAM, HEADERS, METHOD_GET, RawClient, fields, frame, literal,
};
use crate::support::{ENOUGH, PATIENT, run, start_passing};

const LONG: Duration = Duration::from_secs(20);

/// The announced length, and that of what comes.
async fn lengths(address: SocketAddr, method: &str) -> (usize, usize) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let request = Request::builder().method(method).uri("http://a/missing");
    let (response, _) = client
        .send_request(request.body(()).unwrap(), true)
        .unwrap();
    let response = timeout(LONG, response).await.unwrap().unwrap();
    let announced = response.headers()["content-length"].to_str().unwrap();
    let announced = announced.parse().unwrap();
    let mut body = response.into_body();
    let mut came = 0;
    while let Some(piece) = timeout(LONG, body.data()).await.unwrap() {
        came += piece.unwrap().len();
    }
    (announced, came)
}

async fn assert_head_is_sent_alone(pass: Pass) {
    let (_server, address) = start_passing(pass, PATIENT, ENOUGH).await;
    let (length, came) = lengths(address, "GET").await;
    assert!(length > 0);
    assert_eq!(length, came);
    assert_eq!(lengths(address, "HEAD").await, (length, 0));

    let mut client = RawClient::connect(address).await;
    let method = literal(":method", "HEAD");
    let others = fields(METHOD_GET, "/missing");
    let request = [method, others[1..].to_vec()].concat();
    let request = frame(HEADERS, END_HEADERS | END_STREAM, 1, &request);
    client.send(&request).await;
    let head = client.find("head", |frame| frame.is(HEADERS, 1)).await;
    assert_eq!(head.flags & END_STREAM, END_STREAM, "{head:?}");
    let later = client.round_trips().await;
    assert!(!later.iter().any(|it| it.is(DATA, 1)), "{later:?}");
}

#[test]
fn a_head_of_an_error_page_over_http2_has_no_content() {
    run(async {
        // There are no such steps: 404.
        assert_head_is_sent_alone(Pass::Steps(0)).await;
    });
}

#[test]
fn a_head_of_metrics_over_http2_has_no_content() {
    run(async {
        let text = HeaderValue::from_static("text/plain");
        let metrics = Metrics::new(text, || "requests 1\n".to_owned());
        assert_head_is_sent_alone(Pass::Metrics(metrics)).await;
    });
}
