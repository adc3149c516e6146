//! What a client gets when things go wrong, row by row of the table.
//!
//! A failure before the response's head is sent becomes an error page. A later one cuts the message off, so that
//! no client takes it for a complete one.

use std::collections::BTreeSet;

use crate::http2::{Http2, empty, request};
use crate::response::page;
use crate::{End, FrontEnd, Need, Running, configuration, until};

/// What the guests say in their panics, and no client may read.
const SECRET: &str = "a secret of the guest";

/// The guest fails before its head is out: every version of HTTP gets the page, and nothing else.
fn assert_page(front: &impl FrontEnd, server: &Running, guest: &str, target: &str, status: u16) {
    let before = failures(server, guest).len();

    let mut client = server.connect(guest);
    // Twice on one connection: a failed guest is no reason to close it.
    for _ in 0..2 {
        let response = client.get(target);
        response.assert_page(status);
        assert_eq!(response.head.field("content-type"), Some("text/html"));
    }

    let mut client = server.connect(guest);
    client.send(format!("GET {target} HTTP/1.0\r\n\r\n"));
    client.response().assert_page(status);
    client.closed();

    let mut requests = 3;
    if let Some(mut http2) = Http2::offered(front, server, guest) {
        assert_eq!(http2.get(target).summary(), (status, page(status), true));
        requests += 1;
    }

    for line in new_failures(server, guest, before, requests) {
        assert_names_the_request(&line);
    }
}

/// The guest fails after its head has been sent: in every version of HTTP the client sees that the body is
/// cut off.
fn assert_cut_off(front: &impl FrontEnd, server: &Running, guest: &str, target: &str, body: &str) {
    let before = failures(server, guest).len();

    let mut client = server.connect(guest);
    let response = client.get(target);
    assert_eq!((response.head.status, response.text()), (200, body));
    assert_ne!(response.end, End::Complete, "{response:?}");
    let has_length = response.head.field("content-length").is_some();

    let mut client = server.connect(guest);
    client.send(format!("GET {target} HTTP/1.0\r\n\r\n"));
    let response = client.response();
    assert_eq!((response.head.status, response.text()), (200, body));
    if has_length {
        assert_ne!(response.end, End::Complete, "{response:?}");
    } else if front.lacks(Need::ExactCutOffs).is_none() {
        // An orderly close would be the end of a whole body.
        assert_eq!(response.end, End::Reset, "{response:?}");
    }

    let mut requests = 2;
    if let Some(mut http2) = Http2::offered(front, server, guest) {
        assert_eq!(http2.get(target).summary(), (200, body.to_owned(), false));
        // Only the stream was reset.
        assert_eq!(http2.get(target).summary(), (200, body.to_owned(), false));
        requests += 2;
    }

    for line in new_failures(server, guest, before, requests) {
        assert!(line.contains("cut off"), "{line}");
        assert_names_the_request(&line);
    }
}

/// The text that each log line about a request of this application has.
fn of(application: &str) -> String {
    format!("application \"{application}\" request ")
}

/// The log's lines about the outcome of requests, without what the guest itself wrote.
fn failures(server: &Running, application: &str) -> Vec<String> {
    let mut lines = server.log_lines(&of(application));
    lines.retain(|line| !line.contains("[info]"));
    lines
}

/// Those beyond the first `before`, once there is one for each request.
#[track_caller]
fn new_failures(
    server: &Running,
    application: &str,
    before: usize,
    requests: usize,
) -> Vec<String> {
    // A client may have its answer before the log has the line.
    until("there is a line for each request", || {
        failures(server, application).len() >= before + requests
    });
    let lines = failures(server, application).split_off(before);
    assert_eq!(lines.len(), requests, "one for each request: {lines:#?}");
    lines
}

#[track_caller]
fn assert_names_the_request(line: &str) {
    let (_, id) = line.split_once("request ").unwrap();
    let id = id.split(' ').next().unwrap_or_default();
    assert!(
        id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{line}"
    );
}

pub fn a_trap_before_the_response_is_a_500(front: &impl FrontEnd) {
    let server = Running::guests(front, &["trap"]);
    assert_page(front, &server, "trap", "/", 500);
    server.wait_for_log("the guest trapped");
}

pub fn a_return_without_a_response_is_a_500(front: &impl FrontEnd) {
    let server = Running::guests(front, &["no_response"]);
    assert_page(front, &server, "no_response", "/", 500);
}

pub fn an_exit_before_the_response_is_a_500(front: &impl FrontEnd) {
    let server = Running::guests(front, &["exit"]);
    assert_page(front, &server, "exit", "/?before", 500);
}

pub fn an_exit_after_the_response_does_not_change_it(front: &impl FrontEnd) {
    let server = Running::guests(front, &["exit"]);
    let mut client = server.connect("exit");
    client.get("/?after").assert_text("answered\n");
    client.get("/?after").assert_text("answered\n");
}

pub fn an_error_code_about_an_upstream_is_a_502(front: &impl FrontEnd) {
    let server = Running::guests(front, &["error_code"]);
    let mut client = server.connect("error_code");
    let codes = [
        "dns-timeout",
        "dns-error",
        "destination-not-found",
        "destination-unavailable",
        "destination-ip-prohibited",
        "destination-ip-unroutable",
        "connection-refused",
        "connection-terminated",
        "connection-timeout",
        "connection-read-timeout",
        "connection-write-timeout",
        "connection-limit-reached",
        "tls-protocol-error",
        "tls-certificate-error",
        "tls-alert-received",
        "http-response-incomplete",
        "http-response-header-section-size",
        "http-response-header-size",
        "http-response-body-size",
        "http-response-trailer-section-size",
        "http-response-trailer-size",
        "http-response-transfer-coding",
        "http-response-content-coding",
        "http-response-timeout",
        "http-upgrade-failed",
        "http-protocol-error",
    ];
    for code in codes {
        let response = client.get(&format!("/?{code}"));
        assert_eq!(response.head.status, 502, "{code}");
        response.assert_page(502);
    }
    new_failures(&server, "error_code", 0, codes.len());
    assert_page(front, &server, "error_code", "/?connection-refused", 502);
}

pub fn an_error_code_about_the_guest_itself_is_a_500(front: &impl FrontEnd) {
    let server = Running::guests(front, &["error_code"]);
    let mut client = server.connect("error_code");
    let codes = [
        "http-request-denied",
        "http-request-length-required",
        "http-request-body-size",
        "http-request-method-invalid",
        "http-request-uri-invalid",
        "http-request-uri-too-long",
        "http-request-header-section-size",
        "http-request-header-size",
        "http-request-trailer-section-size",
        "http-request-trailer-size",
        "loop-detected",
        "configuration-error",
        "internal-error",
    ];
    for code in codes {
        let response = client.get(&format!("/?{code}"));
        assert_eq!(response.head.status, 500, "{code}");
        response.assert_page(500);
    }
    new_failures(&server, "error_code", 0, codes.len());
    // A guest that does not know the code panics, which is a 500 too.
    assert_eq!(server.log_lines("no such code"), [""; 0]);
    assert_page(front, &server, "error_code", "/?internal-error", 500);
}

pub fn an_informational_status_is_a_500(front: &impl FrontEnd) {
    let server = Running::guests(front, &["status"]);
    for target in ["/?100", "/?101", "/?103", "/?103&body"] {
        assert_page(front, &server, "status", target, 500);
    }
}

pub fn a_trap_after_the_head_cuts_off_the_body(front: &impl FrontEnd) {
    let server = Running::guests(front, &["trap_after_headers"]);
    assert_cut_off(front, &server, "trap_after_headers", "/?100", "partial");
}

pub fn a_trap_after_the_head_cuts_off_a_body_with_a_length(front: &impl FrontEnd) {
    let server = Running::guests(front, &["trap_after_headers"]);
    let target = "/?100&length=100";
    assert_cut_off(front, &server, "trap_after_headers", target, "partial");
}

pub fn a_failure_around_the_head_is_a_500_or_cut_off(front: &impl FrontEnd) {
    let guests = ["trap_after_headers", "short_length", "long_length"];
    let server = Running::guests(front, &guests);
    for (guest, target) in [
        ("trap_after_headers", "/"),
        ("trap_after_headers", "/?1"),
        ("trap_after_headers", "/?length=100"),
        ("short_length", "/?none&100"),
        ("short_length", "/?drop&1"),
        ("long_length", "/"),
        ("long_length", "/?100"),
    ] {
        let mut client = server.connect(guest);
        client.send(format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
        // The client cannot know whether the head has been sent.
        match client.try_response() {
            Ok(response) if response.head.status == 200 => {
                assert_ne!(response.end, End::Complete, "{guest}{target}");
            }
            Ok(response) => response.assert_page(500),
            Err(_) => assert!(front.lacks(Need::ExactCutOffs).is_some(), "{guest}{target}"),
        }
        let Some(mut http2) = Http2::offered(front, &server, guest) else {
            continue;
        };
        let begun = request("GET", target).body(empty()).unwrap();
        // A stream that is reset may take a head along that was on its way.
        if let Ok(response) = http2.try_begin(begun) {
            let (status, _, whole) = http2.read(response).summary();
            assert_eq!(whole, status == 500, "{guest}{target}");
        }
    }
}

pub fn a_trap_after_the_complete_body_does_not_change_it(front: &impl FrontEnd) {
    let server = Running::guests(front, &["trap_after_headers"]);
    for target in ["/?finished", "/?100&finished"] {
        let mut client = server.connect("trap_after_headers");
        client.get(target).assert_text("partial");
        client.get(target).assert_text("partial");
        client.send(format!("GET {target} HTTP/1.0\r\n\r\n"));
        client.response().assert_text("partial");
        if let Some(mut http2) = Http2::offered(front, &server, "trap_after_headers") {
            let whole = (200, "partial".to_owned(), true);
            assert_eq!(http2.get(target).summary(), whole);
        }
    }
    server.wait_for_log(SECRET);
}

pub fn a_body_that_is_left_unfinished_is_cut_off(front: &impl FrontEnd) {
    let server = Running::guests(front, &["unfinished"]);
    assert_cut_off(front, &server, "unfinished", "/?leak&100", "partial");
}

pub fn a_body_that_is_dropped_is_cut_off(front: &impl FrontEnd) {
    let server = Running::guests(front, &["unfinished"]);
    assert_cut_off(front, &server, "unfinished", "/?drop&100", "partial");
}

pub fn a_body_shorter_than_its_content_length_is_cut_off(front: &impl FrontEnd) {
    let server = Running::guests(front, &["short_length"]);
    for end in ["finish", "drop"] {
        assert_cut_off(
            front,
            &server,
            "short_length",
            &format!("/?{end}&100"),
            "four",
        );
    }
}

pub fn a_head_request_to_a_guest_that_fails_has_no_body(front: &impl FrontEnd) {
    let server = Running::guests(front, &["trap", "error_code"]);
    for (guest, target, status) in [
        ("trap", "/", 500),
        ("error_code", "/?connection-refused", 502),
    ] {
        let mut client = server.connect(guest);
        for _ in 0..2 {
            client.send(format!("HEAD {target} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
            assert_eq!(client.response_to("HEAD").head.status, status);
        }
    }
}

pub fn a_failure_right_after_the_head_is_a_500(front: &impl FrontEnd) {
    let server = Running::guests(front, &["short_length", "trap_after_headers"]);
    for (guest, target) in [
        ("short_length", "/?finish"),
        ("short_length", "/?drop"),
        ("short_length", "/?none"),
        ("trap_after_headers", "/"),
        ("trap_after_headers", "/?length=100"),
    ] {
        until("the guest ends within its first turn", || {
            let mut client = server.connect(guest);
            let response = client.get(target);
            if response.head.status == 200 {
                // On a busy machine the guest was interrupted between the head and the end.
                assert_ne!(response.end, End::Complete, "{response:?}");
                return false;
            }
            response.assert_page(500);
            true
        });
    }
}

pub fn a_body_that_is_complete_at_once_gets_a_content_length(front: &impl FrontEnd) {
    let server = Running::guests(front, &["trap_after_headers"]);
    until("the guest finishes its body within its first turn", || {
        let response = server.connect("trap_after_headers").get("/?finished&100");
        response.assert_text("partial");
        response.head.field("content-length") == Some("7")
    });
}

pub fn error_pages_do_not_say_why_a_guest_failed(front: &impl FrontEnd) {
    let targets = [
        ("trap", "/"),
        ("no_response", "/"),
        ("error_code", "/?internal-error"),
        ("trap_after_headers", "/?100"),
        ("trap_after_headers", "/?100&finished"),
        ("unfinished", "/?leak&100"),
        ("exit", "/?before"),
        ("recurse", "/"),
    ];
    let targets = targets.into_iter();
    let targets: Vec<_> = targets
        .filter(|(guest, _)| front.world().has(guest))
        .collect();
    let names: BTreeSet<&str> = targets.iter().map(|(guest, _)| *guest).collect();
    let server = Running::guests(front, &Vec::from_iter(names));
    for (guest, target) in targets {
        let response = server.connect(guest).get(target);
        let mut text = String::from_utf8_lossy(&response.raw).into_owned();
        if let Some(mut http2) = Http2::offered(front, &server, guest) {
            let answer = http2.get(target);
            text += &format!(
                "{:?}{}{:?}",
                answer.head.headers,
                String::from_utf8_lossy(&answer.body),
                answer.trailers
            );
        }
        let text = text.to_ascii_lowercase();
        for word in [
            "secret",
            "guest",
            "trap",
            "panic",
            "wasm:",
            ".rs",
            "backtrace",
            "exit",
            "internal",
        ] {
            // Codes have standard names.
            let text = text.replace("500 internal server error", "");
            assert!(!text.contains(word), "{word} in {text}");
        }
        let line = server.wait_for_log(&of(guest));
        assert_names_the_request(&line);
    }
    server.wait_for_log(SECRET);
}

pub fn a_guest_that_fails_is_destroyed_at_once(front: &impl FrontEnd) {
    let guests = ["trap", "trap_after_headers", "unfinished"];
    let server = Running::guests(front, &guests);
    for (guest, target) in [
        ("trap", "/"),
        ("trap_after_headers", "/?50"),
        ("unfinished", "/?leak&50"),
    ] {
        server.connect(guest).get(target);
        until("no request is in progress", || server.active(guest) == "0");
    }
}

pub fn an_endless_loop_before_the_response_is_a_504(front: &impl FrontEnd) {
    let configuration = configuration::guests_with(&[("spin", &front.timeout(1))]);
    let server = Running::start(front, &configuration);
    let mut http2 = Http2::offered(front, &server, "spin");
    let stream = http2.as_ref().map(|http2| {
        let request = request("GET", "/").body(empty()).unwrap();
        http2.sender().send_request(request)
    });
    server.connect("spin").get("/").assert_page(504);
    if let (Some(http2), Some(stream)) = (&mut http2, stream) {
        let response = http2.wait(stream).unwrap();
        assert_eq!(http2.read(response).head.status, 504);
    }
    assert_names_the_request(&server.wait_for_log(&of("spin")));
    until("no request is in progress", || server.active("spin") == "0");
}

pub fn a_body_longer_than_its_content_length_is_logged(front: &impl FrontEnd) {
    let server = Running::guests(front, &["long_length"]);
    for (target, lines) in [("/", 1), ("/?100", 2)] {
        let mut client = server.connect("long_length");
        client.send(format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
        // A page or a body that is cut off.
        let _ = client.try_response();
        until("the log has the reason", || {
            let why = "the guest's body is longer than its content-length";
            server.log_lines(why).len() == lines
        });
    }
}
