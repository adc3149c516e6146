//! Requests that guests send.

use crate::{Client, End, FrontEnd, Need, Options, Response, Running, Upstream, configuration};

/// The guest that sends requests, to where it may.
fn fetching(front: &impl FrontEnd, grants: &[&str]) -> Running {
    let options = front.options(&Options {
        outbound_http: grants,
        ..Options::default()
    });
    Running::start(front, &configuration::guests_with(&[("fetch", &options)]))
}

fn ask(client: &mut Client, told: &str, body: Option<&str>) -> Response {
    let method = if body.is_some() { "POST" } else { "GET" };
    let body = body.unwrap_or_default();
    let length = body.len();
    client.send(format!(
        "{method} / HTTP/1.1\r\nhost: front.example\r\nx-fetch: {told}\r\n\
         content-length: {length}\r\n\r\n{body}"
    ));
    client.response()
}

fn fetch(server: &Running, told: &str) -> Response {
    ask(&mut server.connect("fetch"), told, None)
}

#[track_caller]
fn assert_error(server: &Running, told: &str, code: &str) {
    let text = format!("error: ErrorCode::{code}\n");
    fetch(server, told).assert_text(&text);
}

pub fn what_is_granted_is_reached_and_nothing_else(front: &impl FrontEnd) {
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

pub fn nothing_is_granted_by_default(front: &impl FrontEnd) {
    let upstream = Upstream::start();
    let server = Running::guests(front, &["fetch"]);
    let told = format!("GET {}/hello", upstream.url());
    assert_error(&server, &told, "HttpRequestDenied");
    assert_eq!(upstream.connections(), 0);
}

pub fn a_wildcard_does_not_reach_the_machine_itself(front: &impl FrontEnd) {
    let upstream = Upstream::start();
    let server = fetching(front, &["*"]);
    let port = upstream.address().port();
    // In decimal, in octal, and in IPv6, too.
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

pub fn connections_to_other_servers_are_kept(front: &impl FrontEnd) {
    let upstream = Upstream::start();
    let server = fetching(front, &[&upstream.url()]);
    let mut client = server.connect("fetch");
    for _ in 0..10 {
        let told = format!("GET {}/hello", upstream.url());
        ask(&mut client, &told, None).assert_text("hello\n");
    }
    // unitd gives requests to any thread of an application, which all have the same pool.
    assert!(upstream.connections() <= 2, "{}", upstream.connections());
}

pub fn bodies_go_to_other_servers_and_come_back(front: &impl FrontEnd) {
    let upstream = Upstream::start();
    let server = fetching(front, &[&upstream.url()]);
    let mut client = server.connect("fetch");
    let body = "0123456789abcdef".repeat(64 * 1024);
    let count = format!("POST {}/count", upstream.url());
    ask(&mut client, &count, Some(&body)).assert_text("1048576\n");
    // As much as fits into the buffers between, so that the guest need not do both at once.
    let echo = format!("POST {}/echo", upstream.url());
    let body = "0123456789abcdef".repeat(1024);
    ask(&mut client, &echo, Some(&body)).assert_text(&body);
}

/// A guest of WASI 0.3 need not do anything for that.
pub fn pieces_go_to_other_servers_and_come_back_one_by_one(front: &impl FrontEnd) {
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

/// The guest that writes the bodies of its requests itself, and what it is answered.
fn uploading(front: &impl FrontEnd, upstream: &Upstream) -> Running {
    let options = front.options(&Options {
        outbound_http: &[&upstream.url()],
        ..Options::default()
    });
    let guests = [("upload", &*options), ("fetch", &*options)];
    Running::start(front, &configuration::guests_with(&guests))
}

#[track_caller]
fn assert_framing(server: &Running, guest: &str, told: &str, fields: &str) {
    let method = told.split(' ').next().unwrap_or_default();
    let response = ask(&mut server.connect(guest), told, Some(""));
    assert_eq!(
        response.text(),
        format!("{method}\n{fields}"),
        "{guest} {told}"
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
        let told = format!("{method} {url}");
        assert_framing(&server, "upload", &format!("{told} none"), fields);
        assert_framing(&server, "upload", &told, fields);
        // It passes an empty one on.
        assert_framing(&server, "fetch", &told, fields);
    }
}

pub fn an_upload_that_is_written_at_once_has_a_content_length(front: &impl FrontEnd) {
    let upstream = Upstream::start();
    let server = uploading(front, &upstream);
    let text = "0123456789abcdef".repeat(300);
    for method in ["POST", "PUT", "DELETE"] {
        let told = format!("{method} {}/framing text={text}", upstream.url());
        assert_framing(&server, "upload", &told, "content-length: 4800\n");
    }
}

pub fn an_upload_that_waits_for_the_response_is_sent_in_chunks(front: &impl FrontEnd) {
    let upstream = Upstream::start();
    let server = uploading(front, &upstream);
    for method in ["POST", "GET"] {
        let told = format!("{method} {}/framing late text=hello", upstream.url());
        assert_framing(&server, "upload", &told, "transfer-encoding: chunked\n");
    }
}

pub fn te_is_named_in_the_connection_field(front: &impl FrontEnd) {
    let upstream = Upstream::start();
    let server = uploading(front, &upstream);
    let told = format!("GET {}/framing none te", upstream.url());
    let fields = "te: trailers\nconnection: keep-alive\nconnection: te\n";
    assert_framing(&server, "upload", &told, fields);
}

pub fn a_redirect_is_the_guests_to_follow(front: &impl FrontEnd) {
    let upstream = Upstream::start();
    let server = fetching(front, &[&upstream.url()]);
    let response = fetch(&server, &format!("GET {}/redirect", upstream.url()));
    assert_eq!(response.head.status, 302, "{response:?}");
    assert_eq!(response.head.field("location"), Some("/hello"));
}

pub fn the_host_is_the_one_that_is_called(front: &impl FrontEnd) {
    let upstream = Upstream::start();
    let server = fetching(front, &[&upstream.url()]);
    let told = format!("GET {}/host copy-fields", upstream.url());
    let host = format!("{}\n", upstream.address());
    fetch(&server, &told).assert_text(&host);
}

pub fn a_guests_time_outs_hold(front: &impl FrontEnd) {
    let upstream = Upstream::start();
    let server = fetching(front, &[&upstream.url()]);
    let told = format!("GET {}/silent first-byte=100", upstream.url());
    assert_error(&server, &told, "ConnectionReadTimeout");
    let told = format!("GET {}/stalls between-bytes=100", upstream.url());
    assert_cut_off(front, &fetch(&server, &told));
}

pub fn a_response_that_breaks_off_is_not_taken_for_whole(front: &impl FrontEnd) {
    let upstream = Upstream::start();
    let server = fetching(front, &[&upstream.url()]);
    let told = format!("GET {}/breaks", upstream.url());
    assert_cut_off(front, &fetch(&server, &told));
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

pub fn a_server_that_is_not_there_is_told_as_that(front: &impl FrontEnd) {
    let gone = Upstream::start().url();
    let server = fetching(front, &[&gone]);
    assert_error(&server, &format!("GET {gone}/hello"), "ConnectionRefused");
}

pub fn a_client_that_leaves_takes_the_upload_along(front: &impl FrontEnd) {
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
