//! Outbound requests: grants, bodies, framing, timeouts.

use crate::{Client, End, FrontEnd, Need, Options, Response, Running, Upstream, configuration};

/// A server with the guest that sends requests, and these grants.
fn fetching(front: &impl FrontEnd, grants: &[&str]) -> Running {
    let options = front.options(&Options {
        outbound_http: grants,
        ..Options::default()
    });
    Running::start(front, &configuration::guests_with(&[("fetch", &options)]))
}

fn ask(client: &mut Client, call: &str, body: Option<&str>) -> Response {
    let method = if body.is_some() { "POST" } else { "GET" };
    let body = body.unwrap_or_default();
    let length = body.len();
    client.send(format!(
        "{method} / HTTP/1.1\r\nhost: front.example\r\nx-fetch: {call}\r\n\
         content-length: {length}\r\n\r\n{body}"
    ));
    client.response()
}

fn fetch(server: &Running, call: &str) -> Response {
    ask(&mut server.connect("fetch"), call, None)
}

#[track_caller]
fn assert_error(server: &Running, call: &str, code: &str) {
    let text = format!("error: ErrorCode::{code}\n");
    fetch(server, call).assert_text(&text);
}

pub fn only_granted_servers_are_reached(front: &impl FrontEnd) {
    let (upstream, other) = (Upstream::start(), Upstream::start());
    let server = fetching(front, &[&upstream.url()]);
    let get = |url: String| format!("GET {url}/hello");
    fetch(&server, &get(upstream.url())).assert_text("hello\n");
    assert_error(&server, &get(other.url()), "HttpRequestDenied");
    let port = upstream.address().port();
    for host in [
        format!("http://localhost:{port}"),
        format!("https://127.0.0.1:{port}"),
        "http://127.0.0.1".to_owned(),
        "http://169.254.169.254".to_owned(),
        "ftp://127.0.0.1".to_owned(),
    ] {
        let response = fetch(&server, &get(host.clone()));
        assert!(
            response.text().starts_with("error: "),
            "{host}: {response:?}"
        );
    }
    assert_eq!(other.connections(), 0);
}

pub fn no_outbound_request_is_granted_by_default(front: &impl FrontEnd) {
    let upstream = Upstream::start();
    let server = Running::guests(front, &["fetch"]);
    let call = format!("GET {}/hello", upstream.url());
    assert_error(&server, &call, "HttpRequestDenied");
    assert_eq!(upstream.connections(), 0);
}

pub fn a_wildcard_does_not_grant_loopback_addresses(front: &impl FrontEnd) {
    let upstream = Upstream::start();
    let server = fetching(front, &["*"]);
    let port = upstream.address().port();
    // Also in decimal, in octal, and as IPv6.
    for host in [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0177.0.0.1",
        "[::1]",
        "0.0.0.0",
    ] {
        let response = fetch(&server, &format!("GET http://{host}:{port}/hello"));
        assert!(
            response.text().starts_with("error: "),
            "{host}: {response:?}"
        );
    }
    assert_eq!(upstream.connections(), 0);
}

pub fn outbound_connections_are_kept_alive(front: &impl FrontEnd) {
    let upstream = Upstream::start();
    let server = fetching(front, &[&upstream.url()]);
    let mut client = server.connect("fetch");
    for _ in 0..10 {
        let call = format!("GET {}/hello", upstream.url());
        ask(&mut client, &call, None).assert_text("hello\n");
    }
    // Two under unitd, which may use two threads of the application at first; they share one pool.
    assert!(upstream.connections() <= 2, "{}", upstream.connections());
}

pub fn bodies_are_exchanged_with_upstreams(front: &impl FrontEnd) {
    let upstream = Upstream::start();
    let server = fetching(front, &[&upstream.url()]);
    let mut client = server.connect("fetch");
    let body = "0123456789abcdef".repeat(64 * 1024);
    let count = format!("POST {}/count", upstream.url());
    ask(&mut client, &count, Some(&body)).assert_text("1048576\n");
    // Small enough for the buffers, so that the guest need not read and write at the same time.
    let echo = format!("POST {}/echo", upstream.url());
    let body = "0123456789abcdef".repeat(1024);
    ask(&mut client, &echo, Some(&body)).assert_text(&body);
}

/// In WASI 0.3, where the host streams bodies without the guest's help.
pub fn bodies_stream_to_upstreams_and_back(front: &impl FrontEnd) {
    let upstream = Upstream::start();
    let server = fetching(front, &[&upstream.url()]);
    let mut client = server.connect("fetch");
    client.send(format!(
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\
         x-fetch: POST {}/echo\r\n\r\n3\r\nabc\r\n",
        upstream.url()
    ));
    assert_eq!(client.head().status, 200);
    assert_eq!(client.pieces(3), b"abc");
    for _ in 0..10 {
        client.send("4\r\ndefg\r\n");
        assert_eq!(client.pieces(4), b"defg");
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.rest().2, End::Complete);
}

/// A server with the guest that writes request bodies itself, and the one that passes bodies on.
fn uploading(front: &impl FrontEnd, upstream: &Upstream) -> Running {
    let options = front.options(&Options {
        outbound_http: &[&upstream.url()],
        ..Options::default()
    });
    let guests = [("upload", &*options), ("fetch", &*options)];
    Running::start(front, &configuration::guests_with(&guests))
}

#[track_caller]
fn assert_framing(server: &Running, guest: &str, call: &str, fields: &str) {
    let method = call.split(' ').next().unwrap_or_default();
    let response = ask(&mut server.connect(guest), call, Some(""));
    assert_eq!(
        response.text(),
        format!("{method}\n{fields}"),
        "{guest} {call}"
    );
}

pub fn an_upload_without_a_body_has_no_framing_or_a_content_length_of_0(front: &impl FrontEnd) {
    let upstream = Upstream::start();
    let server = uploading(front, &upstream);
    let url = upstream.url() + "/framing";
    for (method, fields) in [
        ("GET", ""),
        ("DELETE", ""),
        ("OPTIONS", ""),
        ("POST", "content-length: 0\n"),
        ("PUT", "content-length: 0\n"),
        ("PATCH", "content-length: 0\n"),
    ] {
        // It has no body, or one that is empty.
        let call = format!("{method} {url}");
        assert_framing(&server, "upload", &format!("{call} none"), fields);
        assert_framing(&server, "upload", &call, fields);
        // It passes an empty one on.
        assert_framing(&server, "fetch", &call, fields);
    }
}

pub fn an_upload_that_is_complete_at_once_has_a_content_length(front: &impl FrontEnd) {
    let upstream = Upstream::start();
    let server = uploading(front, &upstream);
    let text = "0123456789abcdef".repeat(300);
    for method in ["POST", "PUT", "DELETE"] {
        let call = format!("{method} {}/framing text={text}", upstream.url());
        assert_framing(&server, "upload", &call, "content-length: 4800\n");
    }
}

pub fn an_upload_that_waits_for_the_response_is_sent_in_chunks(front: &impl FrontEnd) {
    let upstream = Upstream::start();
    let server = uploading(front, &upstream);
    for method in ["POST", "GET"] {
        let call = format!("{method} {}/framing late text=hello", upstream.url());
        assert_framing(&server, "upload", &call, "transfer-encoding: chunked\n");
    }
}

pub fn hop_by_hop_te_is_named_in_the_connection_field(front: &impl FrontEnd) {
    let upstream = Upstream::start();
    let server = uploading(front, &upstream);
    let call = format!("GET {}/framing none te", upstream.url());
    let fields = "te: trailers\nconnection: keep-alive\nconnection: te\n";
    assert_framing(&server, "upload", &call, fields);
}

pub fn redirects_are_not_followed_for_the_guest(front: &impl FrontEnd) {
    let upstream = Upstream::start();
    let server = fetching(front, &[&upstream.url()]);
    let response = fetch(&server, &format!("GET {}/redirect", upstream.url()));
    assert_eq!(response.head.status, 302, "{response:?}");
    assert_eq!(response.head.field("location"), Some("/hello"));
}

pub fn the_host_field_names_the_upstream(front: &impl FrontEnd) {
    let upstream = Upstream::start();
    let server = fetching(front, &[&upstream.url()]);
    let call = format!("GET {}/host copy-fields", upstream.url());
    let host = format!("{}\n", upstream.address());
    fetch(&server, &call).assert_text(&host);
}

pub fn timeouts_of_a_guest_apply_to_its_requests(front: &impl FrontEnd) {
    let upstream = Upstream::start();
    let server = fetching(front, &[&upstream.url()]);
    let call = format!("GET {}/silent first-byte=100", upstream.url());
    assert_error(&server, &call, "ConnectionReadTimeout");
    let call = format!("GET {}/stalls between-bytes=100", upstream.url());
    assert_cut_off(front, &fetch(&server, &call));
}

pub fn a_truncated_upstream_response_is_cut_off(front: &impl FrontEnd) {
    let upstream = Upstream::start();
    let server = fetching(front, &[&upstream.url()]);
    let call = format!("GET {}/breaks", upstream.url());
    assert_cut_off(front, &fetch(&server, &call));
}

#[track_caller]
fn assert_cut_off(front: &impl FrontEnd, response: &Response) {
    assert_ne!(response.end, End::Complete, "{response:?}");
    if front.lacks(Need::ExactCutOffs).is_none() {
        assert_eq!((response.head.status, &*response.body), (200, &b"some"[..]));
    }
}

pub fn a_guest_gets_the_error_code_of_a_response_body_that_fails(front: &impl FrontEnd) {
    let upstream = Upstream::start();
    let options = front.options(&Options {
        outbound_http: &[&upstream.url()],
        ..Options::default()
    });
    let configuration = configuration::guests_with(&[("body_error", &options)]);
    let server = Running::start(front, &configuration);
    let read = |path: &str| {
        let mut client = server.connect("body_error");
        client.send(format!(
            "GET / HTTP/1.1\r\nhost: a\r\nx-fetch: {}{path}\r\n\r\n",
            upstream.url()
        ));
        client.response()
    };
    read("/breaks").assert_text("ErrorCode::HttpResponseIncomplete\n");
    read("/hello").assert_text("whole\n");
}

pub fn an_unreachable_upstream_is_connection_refused(front: &impl FrontEnd) {
    let gone = Upstream::start().url();
    let server = fetching(front, &[&gone]);
    assert_error(&server, &format!("GET {gone}/hello"), "ConnectionRefused");
}

pub fn a_client_that_leaves_cancels_the_guests_upload(front: &impl FrontEnd) {
    let upstream = Upstream::start();
    let server = fetching(front, &[&upstream.url()]);
    let mut client = server.connect("fetch");
    client.send(format!(
        "POST / HTTP/1.1\r\nhost: a\r\nx-fetch: POST {}/count\r\ncontent-length: 100\r\n\r\nabc",
        upstream.url()
    ));
    crate::until("the upload has begun", || upstream.requests() == 1);
    drop(client);
    crate::until("the upload is cut off", || upstream.cut_off() == 1);
    crate::until("the guest is gone", || server.active("fetch") == "0");
}
