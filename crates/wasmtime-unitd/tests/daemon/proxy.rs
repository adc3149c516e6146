//! Requests that other servers answer.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{self, UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use test_suite::http2::{Http2, request};
use test_suite::{DEADLINE, End, FrontEnd as _, NoAnswer, Running, Socket, free_address, until};

use crate::support::{Daemon, routed};

pub(crate) const HELLO: &str =
    "HTTP/1.1 200 OK\r\nserver: other\r\nx-a: b\r\ncontent-length: 5\r\n\r\nhello";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

const ASKS_FOR_WEBSOCKET: &str = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\
     sec-websocket-key: a\r\nsec-websocket-version: 13\r\n\r\n";
const SWITCHES: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
     sec-websocket-accept: b\r\n\r\n";

/// A server that is no daemon, and lives as long as the tests do.
pub(crate) struct Other {
    /// As a configuration names it.
    pub(crate) address: String,
    connections: Arc<AtomicUsize>,
}

impl Other {
    /// Hands each connection to `serve`, in a thread of its own.
    pub(crate) fn start(serve: impl Fn(Peer<TcpStream>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let accept = move || listener.accept().unwrap().0;
        Self::accepting(address, accept, serve)
    }

    fn on_unix(
        listener: UnixListener,
        address: String,
        serve: impl Fn(Peer<UnixStream>) + Send + Sync + 'static,
    ) -> Self {
        let accept = move || listener.accept().unwrap().0;
        Self::accepting(address, accept, serve)
    }

    fn accepting<S: Socket + Send + 'static>(
        address: String,
        accept: impl Fn() -> S + Send + 'static,
        serve: impl Fn(Peer<S>) + Send + Sync + 'static,
    ) -> Self {
        let (connections, serve) = (Arc::new(AtomicUsize::new(0)), Arc::new(serve));
        let counter = Arc::clone(&connections);
        thread::spawn(move || {
            loop {
                let peer = Peer::new(accept());
                counter.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                thread::spawn(move || serve(peer));
            }
        });
        Self {
            address,
            connections,
        }
    }

    /// Answers each request, none of which has a body, with these bytes.
    pub(crate) fn replies(reply: impl Into<String>) -> Self {
        let reply = reply.into();
        Self::start(move |mut peer| {
            while peer.head().is_some() {
                peer.send(&reply);
            }
        })
    }

    /// Answers each request with this word.
    fn named(name: &str) -> Self {
        let length = name.len();
        Self::replies(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{name}"
        ))
    }

    /// Answers each request with its head.
    pub(crate) fn tells() -> Self {
        Self::start(|mut peer| {
            while let Some(head) = peer.head() {
                let length = head.len();
                peer.send(&format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{head}"
                ));
            }
        })
    }

    /// Becomes a WebSocket that sends back what it gets.
    fn echoes() -> Self {
        Self::start(|mut peer| {
            let head = peer.head().unwrap();
            assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
            peer.send(SWITCHES);
            let mut buffer = [0; 1024];
            loop {
                match peer.0.read(&mut buffer) {
                    Ok(0) | Err(_) => return,
                    Ok(length) => peer.0.get_mut().write_all(&buffer[..length]).unwrap(),
                }
            }
        })
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// One end of a connection, whose waits are bounded.
pub(crate) struct Peer<S: Read>(BufReader<S>);

impl<S: Socket> Peer<S> {
    fn new(socket: S) -> Self {
        socket.bound(DEADLINE).unwrap();
        Self(BufReader::new(socket))
    }

    /// A head, if one comes.
    pub(crate) fn head(&mut self) -> Option<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            match self.0.read_line(&mut head) {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
        Some(head)
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, text: &str) {
        let mut got = vec![0; text.len()];
        self.0.read_exact(&mut got).unwrap();
        assert_eq!(String::from_utf8_lossy(&got), text);
    }

    #[track_caller]
    pub(crate) fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// All up to the end of the connection.
    fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        // Its end may be a reset.
        let _ = self.0.read_to_end(&mut rest);
        String::from_utf8(rest).unwrap()
    }
}

/// A daemon that sends all requests on.
pub(crate) fn proxying(other: &Other) -> Running {
    let address = &other.address;
    routed(&format!(
        r#"[{{"action": {{"proxy": "http://{address}"}}}}]"#
    ))
}

/// A connection to `{main}` that has been switched.
#[track_caller]
fn websocket(server: &Running) -> Peer<TcpStream> {
    let mut client = Peer::new(TcpStream::connect(server.address("main")).unwrap());
    client.send(ASKS_FOR_WEBSOCKET);
    let head = client.head().unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("\r\nsec-websocket-accept: b\r\n"), "{head}");
    client
}

#[test]
fn load_balancing_follows_the_weights() {
    let [a, b, c] = ["a", "b", "c"].map(Other::named);
    let mut server = Running::start(
        &Daemon,
        &format!(
            r#"{{"listeners": {{"{{main}}": {{"pass": "upstreams/u"}},
                               "{{routed}}": {{"pass": "routes"}}}},
                "routes": [
                    {{"match": {{"uri": "/named/*"}}, "action": {{"pass": "upstreams/u"}}}},
                    {{"action": {{"pass": "upstreams/$arg_name"}}}}
                ],
                "upstreams": {{
                    "u": {{"servers": {{"{}": {{"weight": 2}}, "{}": {{}}, "{}": {{"weight": 0}}}}}},
                    "empty": {{"servers": {{}}}}
                }}}}"#,
            a.address, b.address, c.address
        ),
    );
    let turns = |server: &Running, listener: &str, target: &str, count: usize| {
        let mut client = server.connect(listener);
        let answers = (0..count).map(|_| client.get(target).text().to_owned());
        answers.collect::<String>()
    };
    assert_eq!(turns(&server, "main", "/", 5), "abaab");
    // All that name it share its turns.
    assert_eq!(turns(&server, "routed", "/named/", 1), "a");
    assert_eq!(turns(&server, "routed", "/?name=u", 1), "a");
    // The turns continue when something else changes, and start again when the upstream does.
    let path = "/config/upstreams/new";
    assert_eq!(server.put(path, r#"{"servers": {}}"#).0, 200);
    assert_eq!(turns(&server, "main", "/", 2), "ba");
    let path = format!("/config/upstreams/u/servers/{}/weight", c.address);
    assert_eq!(server.put(&path, "1").0, 200);
    assert_eq!(turns(&server, "main", "/", 4), "abca");

    let mut client = server.connect("routed");
    client.get("/?name=empty").assert_page(502);
    client.get("/?name=none").assert_page(404);
    server.wait_for_log("the upstream has no server with a weight");
    assert_eq!((a.connections(), b.connections()), (1, 1));
}

#[test]
fn a_proxied_request_is_unchanged_except_by_routes() {
    let other = Other::tells();
    let proxy = format!(r#""proxy": "http://{}""#, other.address);
    let server = routed(&format!(
        r#"[{{"match": {{"uri": "/old/*"}},
             "action": {{{proxy}, "rewrite": "/new$uri", "response_headers": {{"X-From": "$uri"}}}}}},
            {{"action": {{{proxy}}}}}]"#
    ));
    let mut client = server.connect("main");
    client
        .send("GET /a/%62%2F%20c?d=e HTTP/1.1\r\nHost: Example.com:81\r\nX-B: 1\r\nx-a: 2\r\n\r\n");
    client.response().assert_text(
        "GET /a/%62%2F%20c?d=e HTTP/1.1\r\nhost: Example.com:81\r\nx-b: 1\r\nx-a: 2\r\n\r\n",
    );
    let response = client.get("/old/b%20c?d=e");
    response.assert_text("GET /new/old/b%20c?d=e HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(response.head.field("x-from"), Some("/new/old/b c"));
    // A path that leads out of the root is not passed on.
    client.get("/../a").assert_page(400);

    let mut http2 = Http2::connect(server.address("main"));
    let stream = http2.begin(
        request("GET", "/h2")
            .body(test_suite::http2::empty())
            .unwrap(),
    );
    let (status, text, whole) = http2.read(stream).summary();
    assert_eq!((status, whole), (200, true));
    assert!(text.starts_with("GET /h2 HTTP/1.1\r\n"), "{text}");
}

#[test]
fn cookie_fields_of_http_2_are_joined_for_routes_variables_and_upstreams() {
    let other = Other::tells();
    let server = routed(&format!(
        r#"[{{"match": {{"cookies": {{"a": "b", "c": "d"}}}},
             "action": {{"proxy": "http://{}", "response_headers": {{"X-Cookie": "$header_cookie"}}}}}}]"#,
        other.address
    ));
    let mut http2 = Http2::connect(server.address("main"));
    let request = request("GET", "/")
        .header("cookie", "a=b")
        .header("cookie", "c=d")
        .header("cookie", "e=f; g=h");
    let response = http2.begin(request.body(test_suite::http2::empty()).unwrap());
    let answer = http2.read(response);
    assert_eq!(answer.head.headers["x-cookie"], "a=b; c=d; e=f; g=h");
    let (status, text, _) = answer.summary();
    assert_eq!(status, 200);
    assert_eq!(text.matches("cookie: ").count(), 1, "{text}");
    assert!(text.contains("cookie: a=b; c=d; e=f; g=h\r\n"), "{text}");
}

#[test]
fn a_proxied_response_is_unchanged_except_for_its_server_field() {
    let server = proxying(&Other::replies(HELLO));
    let response = server.connect("main").get("/");
    response.assert_text("hello");
    assert_eq!(response.head.field("x-a"), Some("b"));
    let name = response.head.field("server").unwrap();
    assert!(name.starts_with("wasmtime-unitd/"), "{name}");
    let server = proxying(&Other::replies(
        "HTTP/1.1 404 Nothing\r\ncontent-length: 4\r\n\r\nmine",
    ));
    let response = server.connect("main").get("/");
    assert_eq!((response.head.status, response.text()), (404, "mine"));
}

#[test]
fn upstreams_on_unix_sockets_are_reached_by_path_and_abstract_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("other.sock");
    let name = format!("wasmtime-unitd-test-{}", std::process::id());
    let serve = |mut peer: Peer<UnixStream>| {
        while peer.head().is_some() {
            peer.send(HELLO);
        }
    };
    let in_files = UnixListener::bind(&path).unwrap();
    let abstracted = net::SocketAddr::from_abstract_name(&name).unwrap();
    let abstracted = UnixListener::bind_addr(&abstracted).unwrap();
    for other in [
        Other::on_unix(in_files, format!("unix:{}", path.display()), serve),
        Other::on_unix(abstracted, format!("unix:@{name}"), serve),
    ] {
        let server = proxying(&other);
        let mut client = server.connect("main");
        client.get("/").assert_text("hello");
        client.get("/").assert_text("hello");
        assert_eq!(other.connections(), 1);
    }
}

#[test]
fn chunked_bodies_stream_both_ways() {
    let other = Other::start(|mut peer| {
        while let Some(head) = peer.head() {
            assert!(
                head.contains("\r\ntransfer-encoding: chunked\r\n"),
                "{head}"
            );
            peer.send(CHUNKED);
            for text in ["first", "then.", "last."] {
                peer.expect(&format!("5\r\n{text}\r\n"));
                peer.send(&format!("5;a=b\r\n{text}\r\n"));
            }
            peer.expect("0\r\n\r\n");
            peer.send("0\r\n\r\n");
        }
    });
    let server = proxying(&other);
    let mut client = server.connect("main");
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
        for (n, text) in ["first", "then.", "last."].into_iter().enumerate() {
            client.send(format!("5\r\n{text}\r\n"));
            if n == 0 {
                let head = client.head();
                assert_eq!(head.field("transfer-encoding"), Some("chunked"));
            }
            assert_eq!(client.pieces(5), text.as_bytes());
        }
        client.send("0\r\n\r\n");
        assert_eq!(client.rest(), (vec![], vec![], End::Complete));
    }
    assert_eq!(other.connections(), 1);
}

#[test]
fn a_truncated_upstream_response_is_visibly_incomplete() {
    for reply in [
        format!("{CHUNKED}5\r\nhello\r\n"),
        format!("{CHUNKED}5\r\nhello\r\nxyz\r\n"),
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello".to_owned(),
    ] {
        let other = Other::start(move |mut peer| {
            peer.head();
            peer.send(&reply);
        });
        let server = proxying(&other);
        let response = server.connect("main").get("/");
        // What there was comes first, with the head, though all was there at once.
        assert_eq!((response.head.status, response.text()), (200, "hello"));
        assert_ne!(response.end, End::Complete);

        let mut old = server.connect("main");
        old.send("GET / HTTP/1.0\r\n\r\n");
        let end = old.everything().1;
        let has_length = response.head.field("content-length").is_some();
        assert!(has_length || end == NoAnswer::Reset, "{end:?}");

        let mut http2 = Http2::connect(server.address("main"));
        let stream = http2.try_begin(
            request("GET", "/")
                .body(test_suite::http2::empty())
                .unwrap(),
        );
        if let Ok(stream) = stream {
            assert!(!http2.read(stream).summary().2);
        }
        server.wait_for_log("proxying to an upstream server");
    }
}

#[test]
fn an_unreachable_or_invalid_upstream_is_a_502() {
    let server = routed(&format!(
        r#"[{{"action": {{"proxy": "http://{}"}}}}]"#,
        free_address()
    ));
    let mut client = server.connect("main");
    client.get("/").assert_page(502);
    // The connection is as good as before.
    client.get("/").assert_page(502);
    server.wait_for_log("cannot connect");

    for reply in [
        "",
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\nhello",
        SWITCHES,
    ] {
        let other = Other::start(move |mut peer| {
            peer.head();
            peer.send(reply);
        });
        let server = proxying(&other);
        server.connect("main").get("/").assert_page(502);
    }
}

#[test]
fn a_client_error_takes_precedence_over_an_upstream_error() {
    let (sender, messages) = std::sync::mpsc::channel();
    let other = Other::start(move |mut peer| {
        sender.send(peer.head().unwrap_or_default()).unwrap();
        sender.send(peer.rest()).unwrap();
    });
    let server = proxying(&other);
    let mut client = server.connect("main");
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n");
    let head = messages.recv_timeout(DEADLINE).unwrap();
    assert!(head.starts_with("POST / "), "{head}");
    client.send("xyz\r\n");
    let response = client.response();
    response.assert_page(400);
    assert_eq!(response.head.field("connection"), Some("close"));
    let message = messages.recv_timeout(DEADLINE).unwrap();
    assert!(!message.ends_with("0\r\n\r\n"), "{message}");
}

#[test]
fn a_websocket_is_proxied_and_outlives_its_listener() {
    let other = Other::echoes();
    let mut server = proxying(&other);
    let mut client = websocket(&server);
    client.send("hello");
    client.expect("hello");
    // It is a request in progress.
    assert_eq!(server.get("/status/connections/active"), "1");
    assert_eq!(server.get("/status/requests/total"), "1");
    assert_eq!(server.put("/config", "{}").0, 200);
    until("the address is free", || {
        TcpStream::connect(server.address("main")).is_err()
    });
    client.send("still here");
    client.expect("still here");
    // Its end is passed on, and then it is over.
    client
        .0
        .get_ref()
        .shutdown(std::net::Shutdown::Write)
        .unwrap();
    assert_eq!(client.rest(), "");
    until("it is counted no more", || {
        let count = |what| server.get(&format!("/status/connections/{what}"));
        count("active") == "0" && count("closed") == count("accepted")
    });
}

#[test]
fn a_graceful_shutdown_waits_for_a_websocket() {
    let mut server = proxying(&Other::echoes());
    let mut client = websocket(&server);
    server.signal(Signal::SIGTERM);
    server.wait_for_log("SIGTERM: shutting down gracefully");
    client.send("hello");
    client.expect("hello");
    drop(client);
    assert_eq!(server.wait(DEADLINE).code(), Some(0));
}

#[test]
fn a_websocket_is_aborted_at_the_shutdown_timeout() {
    let other = Other::echoes();
    let directory = tempfile::tempdir().unwrap();
    let mut command = Daemon.command(directory.path());
    command.args(["--shutdown-timeout", "1"]);
    let mut server = Running::launch(command, directory);
    let configuration = format!(
        r#"{{"listeners": {{"{{main}}": {{"pass": "upstreams/u"}}}},
            "upstreams": {{"u": {{"servers": {{"{}": {{}}}}}}}}}}"#,
        other.address
    );
    assert_eq!(server.put("/config", &configuration).0, 200);
    let mut client = websocket(&server);
    let started = Instant::now();
    server.signal(Signal::SIGTERM);
    let status = server.wait(DEADLINE);
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(status.code(), Some(1));
    assert_eq!(client.rest(), "");
}

#[test]
fn a_refused_upgrade_leaves_the_connection_usable() {
    let server = proxying(&Other::replies(HELLO));
    let mut client = server.connect("main");
    client.send(ASKS_FOR_WEBSOCKET);
    client.response().assert_text("hello");
    client.get("/").assert_text("hello");
}

#[test]
fn a_proxied_request_in_progress_outlives_its_upstreams_configuration() {
    let other = Other::start(|mut peer| {
        while peer.head().is_some() {
            peer.send(CHUNKED);
            peer.expect("later");
            peer.send("5\r\nhello\r\n0\r\n\r\n");
        }
    });
    let mut server = proxying(&other);
    let mut client = server.connect("main");
    let asks = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n";
    client.send(asks);
    assert_eq!(client.head().status, 200);
    let steps = r#"[{"action": {"return": 204}}]"#;
    assert_eq!(server.put("/config/routes", steps).0, 200);
    client.send("later");
    assert_eq!(client.rest(), (b"hello".to_vec(), vec![], End::Complete));
    assert_eq!(client.get("/").head.status, 204);

    // The connection to the other server was kept meanwhile.
    let steps = format!(r#"[{{"action": {{"proxy": "http://{}"}}}}]"#, other.address);
    assert_eq!(server.put("/config/routes", &steps).0, 200);
    client.send(format!("{asks}later"));
    client.response().assert_text("hello");
    assert_eq!(other.connections(), 1);
}

#[test]
fn an_invalid_upstream_is_refused_with_its_path() {
    let mut server = Running::idle(&Daemon);
    for (configuration, detail, place) in [
        (
            r#"{"listeners": {"*:1": {"pass": "upstreams/u"}}}"#,
            "points to invalid location",
            "/listeners/*:1/pass",
        ),
        (
            r#"{"upstreams": {"u": {"servers": {"localhost:80": {}}}}}"#,
            "is not valid server address.",
            "/upstreams/u/servers/localhost:80",
        ),
        (
            r#"{"routes": [{"action": {"proxy": "https://127.0.0.1:80"}}]}"#,
            "address is invalid",
            "/routes/0/action/proxy",
        ),
    ] {
        let (status, answer) = server.put("/config", configuration);
        assert_eq!(status, 400, "{answer}");
        assert!(
            answer.contains(detail) && answer.contains(place),
            "{answer}"
        );
    }
}
