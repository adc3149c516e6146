//! HTTP/2 with prior knowledge.

use std::sync::Arc;

use crate::http2::{Http2, empty, full, request};
use crate::{FrontEnd, Options, Running, configuration};

fn server(front: &impl FrontEnd) -> Arc<Running> {
    Running::shared(front, &["count", "early", "headers", "hello", "status"])
}

pub fn http2_with_prior_knowledge_is_served(front: &impl FrontEnd) {
    let server = server(front);
    let mut http2 = Http2::connect(server.address("hello"));
    for _ in 0..3 {
        let answer = http2.get("/");
        assert_eq!(answer.summary(), (200, "Hello, world!\n".to_owned(), true));
        assert_eq!(answer.head.version, http::Version::HTTP_2);
        assert_eq!(answer.head.headers["content-length"], "14");
    }
    // On the same address.
    server
        .connect("hello")
        .get("/")
        .assert_text("Hello, world!\n");
}

pub fn a_guest_sees_the_same_over_http2(front: &impl FrontEnd) {
    let server = server(front);
    let mut http2 = Http2::connect(server.address("headers"));
    let request = request("PUT", "/a?b=c")
        .header("x-one", "1")
        .header("accept", "*/*");
    let response = http2.begin(request.body(full("abc")).unwrap());
    let answer = http2.read(response);
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.starts_with("PUT http localhost /a?b=c\n"), "{text}");
    for line in ["x-one: 1", "accept: */*", "content-length: 3"] {
        assert!(text.lines().any(|it| it == line), "{line} in {text}");
    }
}

pub fn an_authority_over_http2_has_its_port_if_it_is_the_host(front: &impl FrontEnd) {
    let file = test_components::guest("headers");
    let application = |authority| {
        let options = Options {
            authority: Some(authority),
            ..Options::default()
        };
        configuration::application(&file, &front.options(&options))
    };
    let server = Running::start(
        front,
        &configuration::applications_of(&[
            ("server_name", application("server-name")),
            ("host", application("host")),
        ]),
    );
    for (application, expected) in [("server_name", "[::1]"), ("host", "[::1]:8443")] {
        let mut http2 = Http2::connect(server.address(application));
        let request = http::Request::get("http://[::1]:8443/");
        let response = http2.begin(request.body(empty()).unwrap());
        let text = String::from_utf8(http2.read(response).body).unwrap();
        let first = format!("GET http {expected} /\n");
        assert!(text.starts_with(&first), "{text}");
        assert!(text.contains("host: [::1]:8443\n"), "{text}");
    }
}

pub fn cookie_fields_of_http2_reach_a_guest_as_one(front: &impl FrontEnd) {
    let server = server(front);
    let mut http2 = Http2::connect(server.address("headers"));
    let request = request("GET", "/")
        .header("cookie", "a=b")
        .header("cookie", "c=d")
        .header("x-one", "1")
        .header("cookie", "e=f");
    let response = http2.begin(request.body(empty()).unwrap());
    let text = String::from_utf8(http2.read(response).body).unwrap();
    let cookies: Vec<_> = (text.lines().filter(|line| line.starts_with("cookie"))).collect();
    assert_eq!(cookies, ["cookie: a=b; c=d; e=f"], "{text}");
}

pub fn a_head_request_over_http2_gets_only_the_head(front: &impl FrontEnd) {
    let server = server(front);
    let mut http2 = Http2::connect(server.address("hello"));
    let response = http2.begin(request("HEAD", "/").body(empty()).unwrap());
    let answer = http2.read(response);
    assert_eq!(answer.summary(), (200, String::new(), true));
    assert_eq!(answer.head.headers["content-length"], "14");
    assert_eq!(http2.get("/").body, b"Hello, world!\n");
}

pub fn a_status_without_content_has_none_over_http2(front: &impl FrontEnd) {
    let server = server(front);
    let mut http2 = Http2::connect(server.address("status"));
    for (target, status) in [("/?204&body", 204), ("/?304&body", 304), ("/?204", 204)] {
        assert_eq!(http2.get(target).summary(), (status, String::new(), true));
    }
}

pub fn an_unread_body_does_not_block_other_streams(front: &impl FrontEnd) {
    let server = server(front);
    let mut http2 = Http2::connect(server.address("early"));
    for _ in 0..20 {
        // More than the window of a stream: what is left unread must not fill the connection's.
        let body = full(vec![b'x'; 200_000]);
        let response = http2.begin(request("POST", "/").body(body).unwrap());
        assert_eq!(http2.read(response).body, b"early\n");
    }
}

pub fn too_many_fields_refuse_only_their_stream(front: &impl FrontEnd) {
    let server = server(front);
    let mut http2 = Http2::connect(server.address("hello"));
    let large = request("GET", "/").header("x-large", "x".repeat(60_000));
    match http2.try_begin(large.body(empty()).unwrap()) {
        Ok(response) => assert_eq!(response.status(), 431),
        Err(error) => assert!(!error.is_closed(), "{error:?}"),
    }
    assert_eq!(http2.get("/").body, b"Hello, world!\n");
}

pub fn curl_speaks_http2(front: &impl FrontEnd) {
    if !crate::has_curl() {
        return;
    }
    let server = server(front);
    let url = format!("http://{}/", server.address("count"));
    let output = crate::curl(["--http2-prior-knowledge", "-d", "xyzabcd", &url]);
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("does not support") {
        eprintln!("skipped: {errors}");
        return;
    }
    assert_eq!(output.stdout, b"7\n", "{errors}");
}
