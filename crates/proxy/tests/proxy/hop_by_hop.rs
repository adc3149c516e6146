//! What of the fields is forwarded.

use http::Version;

use crate::support::{Fake, HELLO, Proxied as _, empty, exchange, fields, request, send};

#[tokio::test]
async fn hop_by_hop_fields_of_the_client_are_not_forwarded() {
    let (head, _) = exchange(
        "GET",
        &[
            ("x-first", "1"),
            ("connection", "close, X-Private, , x-other,\"bad\""),
            ("x-private", "1"),
            ("connection", "x-third, host"),
            ("x-third", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "a"),
            ("te", "gzip, Trailers;q=0.5"),
            ("upgrade", "h2c"),
            ("http2-settings", "a"),
            ("x-kept", "1"),
            ("x-kept", "2"),
        ],
        HELLO,
    )
    .await;
    let expected = "GET /path?query HTTP/1.1\r\nhost: a.example:8080\r\nx-first: 1\r\n\
                    x-kept: 1\r\nx-kept: 2\r\n\r\n";
    assert_eq!(head, expected);
}

#[tokio::test]
async fn of_te_only_trailers_is_forwarded_as_a_hop_by_hop_field() {
    let (head, _) = exchange("GET", &[("te", "gzip, Trailers")], HELLO).await;
    assert!(
        head.ends_with("\r\nte: trailers\r\nconnection: te\r\n\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn end_to_end_fields_are_forwarded_unchanged() {
    let sent = [
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=192.0.2.1"),
        ("via", "1.1 other"),
        ("cookie", "a=b"),
        ("cookie", "c=d"),
        ("authorization", "Basic a"),
        ("accept-encoding", "gzip"),
        ("range", "bytes=0-1"),
        ("if-none-match", "\"a\""),
        ("user-agent", "test"),
        ("expect", "something"),
        ("max-forwards", "0"),
        ("empty", ""),
    ];
    let (head, _) = exchange("GET", &sent, HELLO).await;
    let lines: String = sent
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let expected = format!("GET /path?query HTTP/1.1\r\nhost: a.example:8080\r\n{lines}\r\n");
    assert_eq!(head, expected);
}

#[tokio::test]
async fn a_request_without_a_host_gets_that_of_its_uri() {
    for (uri, host) in [("http://b.example/", "b.example"), ("/", "")] {
        let (fake, mut received) = Fake::answers_after("").await;
        let request = http::Request::get(uri)
            .version(Version::HTTP_10)
            .body(empty())
            .unwrap();
        send(&fake.proxy(), request).await.unwrap();
        let head = received.recv().await.unwrap();
        assert_eq!(head, format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"));
    }
}

#[tokio::test]
async fn a_request_of_http_2_becomes_one_of_http_1() {
    let (fake, mut received) = Fake::answers_after("").await;
    let mut request = request("GET", &[("te", "trailers")]).body(empty()).unwrap();
    *request.version_mut() = Version::HTTP_2;
    send(&fake.proxy(), request).await.unwrap();
    let head = received.recv().await.unwrap();
    let expected = "GET /path?query HTTP/1.1\r\nhost: a.example:8080\r\nte: trailers\r\n\
                    connection: te\r\n\r\n";
    assert_eq!(head, expected);
}

#[tokio::test]
async fn hop_by_hop_fields_of_the_server_are_not_forwarded() {
    let (_, response) = exchange(
        "GET",
        &[],
        "HTTP/1.1 200 Fine\r\nServer: upstream\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
         Connection: x-hop, close\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\n\
         Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\nTE: trailers\r\nSet-Cookie: a=b\r\n\
         Set-Cookie: c=d\r\nX-Last: 1\r\nContent-Length: 5\r\n\r\nhello",
    )
    .await;
    let response = response.unwrap();
    assert_eq!(
        fields(response.headers()),
        [
            "date: Thu, 01 Jan 1970 00:00:00 GMT",
            "set-cookie: a=b",
            "set-cookie: c=d",
            "x-last: 1",
            "content-length: 5",
        ]
    );
    assert!(response.extensions().is_empty());
}

#[tokio::test]
async fn any_status_is_passed_on() {
    for status in [200, 201, 299, 301, 404, 426, 500, 503, 599, 999] {
        let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        let (_, response) = exchange("GET", &[], &reply).await;
        assert_eq!(response.unwrap().status(), status);
    }
}

#[tokio::test]
async fn a_426_keeps_the_upgrade_field_that_it_must_have() {
    let reply = "HTTP/1.1 426 Upgrade Required\r\nupgrade: TLS/1.2, HTTP/1.1\r\n\
                 upgrade: websocket\r\nconnection: upgrade, x-hop\r\nx-hop: 1\r\n\
                 content-length: 0\r\n\r\n";
    let (_, response) = exchange("GET", &[], reply).await;
    assert_eq!(
        fields(response.unwrap().headers()),
        [
            "content-length: 0",
            "connection: upgrade",
            "upgrade: TLS/1.2, HTTP/1.1",
            "upgrade: websocket",
        ]
    );
    // HTTP/2 has no such field.
    let fake = Fake::replies(reply).await;
    let mut request = request("GET", &[]).body(empty()).unwrap();
    *request.version_mut() = Version::HTTP_2;
    let response = send(&fake.proxy(), request).await.unwrap();
    assert_eq!(fields(response.headers()), ["content-length: 0"]);
}
