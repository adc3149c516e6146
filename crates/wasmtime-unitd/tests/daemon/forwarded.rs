//! Clients that proxies in front name.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;

use test_suite::http2::{Http2, empty, request};
use test_suite::{DEADLINE, Running, Socket as _, configuration, within};

use crate::support::{Daemon, LONG};

/// What a request came to, as routes know it.
const ROUTES: &str = r#"[
    {"match": {"uri": "/app"}, "action": {"pass": "applications/report"}},
    {"match": {"uri": "/proxied*"}, "action": {"proxy": "{upstream}"}},
    {"match": {"source": "203.0.113.0/24", "scheme": "https"},
     "action": {"return": 200, "response_headers": {"x-addr": "far $remote_addr"}}},
    {"match": {"scheme": "https"},
     "action": {"return": 200, "response_headers": {"x-addr": "https $remote_addr"}}},
    {"action": {"return": 200, "response_headers": {"x-addr": "http $remote_addr"}}}
]"#;

/// A daemon whose listener has these members. `routes` are reached on `{main}`, the guest by itself
/// on `{app}`.
fn believing(members: &str, upstream: &str) -> Running {
    let guest = configuration::application(&test_components::guest("headers"), "");
    let mut server = Running::idle(&Daemon);
    let file = server.directory().join("access.log");
    let routes = ROUTES.replace("{upstream}", upstream);
    let configuration = format!(
        r#"{{"listeners": {{"{{main}}": {{"pass": "routes", {members}}},
                           "{{app}}": {{"pass": "applications/report", {members}}}}},
            "routes": {routes},
            "access_log": {{"path": "{}", "format": "$remote_addr $status $request_uri"}},
            "applications": {{"report": {guest}}}}}"#,
        file.display()
    );
    let (status, answer) = server.put("/config", &configuration);
    assert_eq!(status, 200, "{answer}");
    server
}

/// The value of `x-addr` for a request with these fields.
#[track_caller]
fn seen(server: &Running, fields: &str) -> String {
    let mut client = server.connect("main");
    client.send(format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n"));
    let response = client.response();
    response.head.field("x-addr").unwrap_or_default().to_owned()
}

const BOTH: &str = r#""forwarded": {"client_ip": "X-Forwarded-For", "protocol": "X-Forwarded-Proto",
                                    "source": "127.0.0.1"}"#;

#[test]
fn routes_and_variables_use_the_forwarded_client_address() {
    let server = believing(BOTH, "http://127.0.0.1:1");
    for (fields, addr) in [
        ("", "http 127.0.0.1"),
        ("x-forwarded-for: 1.1.1.1\r\n", "http 1.1.1.1"),
        ("X-Forwarded-For: 2001:DB8::1\r\n", "http 2001:db8::1"),
        ("x-forwarded-proto: https\r\n", "https 127.0.0.1"),
        (
            "x-forwarded-for: 1.1.1.1\r\nx-forwarded-for: 203.0.113.9\r\nx-forwarded-proto: on\r\n",
            "far 203.0.113.9",
        ),
        ("x_forwarded_for: 1.1.1.1\r\n", "http 127.0.0.1"),
        ("forwarded: for=1.1.1.1;proto=https\r\n", "http 127.0.0.1"),
        ("x-forwarded-for: unix:/x\r\n", "http 127.0.0.1"),
    ] {
        assert_eq!(seen(&server, fields), addr, "{fields}");
    }
    // The next request on the same connection is another client's.
    let mut client = server.connect("main");
    for (value, addr) in [("1.1.1.1", "http 1.1.1.1"), ("", "http 127.0.0.1")] {
        client.send(format!(
            "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: {value}\r\n\r\n"
        ));
        assert_eq!(client.response().head.field("x-addr"), Some(addr));
    }
}

#[test]
fn forwarded_fields_of_untrusted_peers_are_ignored() {
    let fields = "x-forwarded-for: 203.0.113.9\r\nx-forwarded-proto: https\r\n";
    for source in [r#""10.0.0.0/8""#, r#""!127.0.0.1""#, r#""unix""#, "[]"] {
        let members = format!(
            r#""forwarded": {{"client_ip": "X-Forwarded-For", "protocol": "X-Forwarded-Proto",
                              "source": {source}}}"#
        );
        let server = believing(&members, "http://127.0.0.1:1");
        assert_eq!(seen(&server, fields), "http 127.0.0.1", "{source}");
    }
}

#[test]
fn the_older_form_is_asked_about_what_the_newer_one_found() {
    let server = believing(
        r#""client_ip": {"header": "X-Real-IP", "source": "10.0.0.1"},
           "forwarded": {"client_ip": "X-Forwarded-For", "source": "127.0.0.1"}"#,
        "http://127.0.0.1:1",
    );
    let real = "x-real-ip: 203.0.113.9\r\n";
    assert_eq!(seen(&server, real), "http 127.0.0.1");
    let fields = format!("x-forwarded-for: 10.0.0.1\r\n{real}");
    assert_eq!(seen(&server, &fields), "http 203.0.113.9");
    let fields = format!("x-forwarded-for: 10.0.0.2\r\n{real}");
    assert_eq!(seen(&server, &fields), "http 10.0.0.2");
}

#[test]
fn guests_see_the_scheme_and_the_fields_as_they_came() {
    let server = believing(BOTH, "http://127.0.0.1:1");
    let fields = "x-forwarded-for: 1.1.1.1, 2.2.2.2\r\nx-forwarded-proto: https\r\n";
    for listener in ["app", "main"] {
        let mut client = server.connect(listener);
        client.send(format!("GET /app?q HTTP/1.1\r\nhost: a:80\r\n{fields}\r\n"));
        let response = client.response();
        let text = response.text().to_ascii_lowercase();
        assert!(text.starts_with("get https a /app?q\n"), "{text}");
        assert!(
            text.contains("x-forwarded-for: 1.1.1.1, 2.2.2.2\n"),
            "{text}"
        );
        assert!(text.contains("x-forwarded-proto: https\n"), "{text}");
    }
    let mut client = Http2::connect(server.address("app"));
    let wanted = request("GET", "/app").header("x-forwarded-proto", "https");
    let response = client.begin(wanted.body(empty()).unwrap());
    let text = client.read(response).summary().1;
    assert!(text.starts_with("GET https "), "{text}");
}

#[test]
fn other_servers_get_the_fields_as_they_came() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", upstream.local_addr().unwrap());
    let server = believing(BOTH, &url);
    let mut client = server.connect("main");
    let fields = "x-forwarded-for: 1.1.1.1\r\nx-forwarded-proto: https\r\n";
    client.send(format!("GET /proxied HTTP/1.1\r\nhost: a\r\n{fields}\r\n"));
    let peer = BufReader::new(upstream.accept().unwrap().0);
    peer.get_ref().bound(DEADLINE).unwrap();
    let lines = peer.lines().map(|line| line.unwrap() + "\r\n");
    let head: String = lines.take_while(|line| line != "\r\n").collect();
    assert!(head.starts_with("GET /proxied HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(fields), "{head}");
}

#[test]
fn the_access_log_has_the_client_that_a_proxy_names() {
    let server = believing(BOTH, "http://127.0.0.1:1");
    let send = |request: &str| {
        let mut client = server.connect("app");
        client.send(request);
        client.response();
    };
    send("GET /1 HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 1.1.1.1\r\n\r\n");
    // As in Unit, what is no request is its sender's own.
    send("GET /2 HTTP/1.1\r\nx-forwarded-for: 1.1.1.1\r\n\r\n");
    let path = server.directory().join("access.log");
    within(LONG, "both are noted", || {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let has = |line: &str| text.lines().any(|it| it == line);
        (has("1.1.1.1 200 /1") && has("127.0.0.1 400 /2")).then_some(())
    });
}
