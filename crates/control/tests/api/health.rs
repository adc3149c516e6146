//! Health checks: liveness and readiness, on the control socket and on one of their own.

use std::time::Duration;

use control::Health;
use sockets::Listener;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::{Answer, read, request, start};

const READY: &str = "{\n\t\"status\": \"ready\"\n}\n";
const LIVE: &str = "{\n\t\"status\": \"live\"\n}\n";

fn not_ready(reason: &str) -> String {
    format!("{{\n\t\"status\": \"not ready\",\n\t\"reason\": \"{reason}\"\n}}\n")
}

/// A socket for health checks only.
struct HealthSocket {
    health: Health,
    directory: TempDir,
    serving: JoinHandle<()>,
}

impl HealthSocket {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("health")).unwrap();
        let health = Health::default();
        let serving = tokio::spawn({
            let health = health.clone();
            async move { health.serve(Listener::Unix(listener)).await }
        });
        Self {
            health,
            directory,
            serving,
        }
    }

    async fn connect(&self) -> UnixStream {
        let path = self.directory.path().join("health");
        UnixStream::connect(path).await.unwrap()
    }

    async fn send(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        read(stream).await
    }

    async fn get(&self, target: &str) -> Answer {
        self.send(&request("GET", target, b"")).await
    }
}

impl Drop for HealthSocket {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[tokio::test]
async fn the_control_api_says_whether_the_server_is_live_and_ready() {
    let (_directory, server) = start();
    server.get("/status/live").await.is(200, LIVE);
    let starting = not_ready("starting: the configuration is not in force yet");
    server.get("/status/ready").await.is(503, &starting);
    let health = &server.notes.health;
    health.set_problem(Health::CONFIGURATION, None::<&str>);
    server.get("/status/ready/").await.is(200, READY);
    health.set_problem("b", Some("disk full"));
    health.set_problem("a", Some("1 file is broken"));
    let both = not_ready("1 file is broken; disk full");
    server.get("/status/ready").await.is(503, &both);
    let head = server.send("HEAD", "/status/ready", "").await;
    head.is(503, "");
    let length = format!("content-length: {}", both.replace('\n', "\r\n").len());
    assert!(head.head.contains(&length), "{}", head.head);
    health.set_problem("a", None::<&str>);
    let other = not_ready("disk full");
    server.get("/status/ready").await.is(503, &other);
    server.get("/status/live").await.is(200, LIVE);
}

#[tokio::test]
async fn changes_of_readiness_are_reported_once() {
    let health = Health::default();
    let mut changes = health.readiness_changes();
    let first = changes.next().await.unwrap();
    assert!(first.reason().unwrap().starts_with("starting"));
    health.set_problem("a", None::<&str>);
    health.set_problem("a", Some("x"));
    health.set_problem(Health::CONFIGURATION, None::<&str>);
    assert_eq!(changes.next().await.unwrap().reason(), Some("x"));
    health.set_problems([("a", None), ("b", Some("y".to_owned()))]);
    assert_eq!(changes.next().await.unwrap().reason(), Some("y"));
    health.set_problem("b", Some("y"));
    let none = timeout(Duration::from_millis(20), changes.next()).await;
    assert!(none.is_err(), "{none:?}");
    drop(health);
    assert_eq!(changes.next().await, None);
}

#[tokio::test]
async fn health_checks_are_read_only() {
    let (_directory, server) = start();
    for target in ["/status/live", "/status/ready"] {
        let answer = server.put(target, "{}").await;
        answer.is(405, "{\n\t\"error\": \"Invalid method.\"\n}\n");
        assert!(answer.head.contains("\r\nallow: get, head"));
    }
    let socket = HealthSocket::start();
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = socket.send(&request(method, "/live", b"")).await;
        answer.is(405, "{\n\t\"error\": \"Method isn't allowed.\"\n}\n");
        assert!(answer.head.contains("\r\nallow: get, head"));
    }
}

#[tokio::test]
async fn a_socket_for_health_checks_answers_nothing_else() {
    let socket = HealthSocket::start();
    let answer = socket.get("/live?a=b").await;
    answer.is(200, LIVE);
    for field in ["content-type: application/json", "connection: close"] {
        assert!(answer.head.contains(field), "{}", answer.head);
    }
    assert_eq!(socket.get("/ready").await.status, 503);
    let health = &socket.health;
    health.set_problem(Health::CONFIGURATION, None::<&str>);
    socket.get("/ready").await.is(200, READY);
    socket
        .send(b"GET /ready HTTP/1.0\r\n\r\n")
        .await
        .is(200, READY);
    let head = socket.send(&request("HEAD", "/live", b"")).await;
    head.is(200, "");
    for target in [
        "/",
        "/config",
        "/status",
        "/status/ready",
        "/livez",
        "/live/",
    ] {
        assert_eq!(socket.get(target).await.status, 404, "{target}");
    }
}

#[tokio::test]
async fn a_problems_text_is_cut_and_escaped() {
    let socket = HealthSocket::start();
    let health = &socket.health;
    health.set_problem(Health::CONFIGURATION, Some("\"\u{1b}".repeat(1 << 20)));
    let answer = socket.get("/ready").await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains(r#"\"\u001B\""#), "{}", answer.body);
    assert!(answer.body.contains("… (cut)"), "{}", answer.body);
    assert!(answer.body.len() < 8 << 10, "{} bytes", answer.body.len());
}

#[tokio::test]
async fn malformed_and_large_health_checks_are_refused() {
    let socket = HealthSocket::start();
    assert_eq!(socket.send(b"nonsense\r\n\r\n").await.status, 400);
    let field = format!("a: {}\r\n", "x".repeat(20 << 10));
    let large = format!("GET /live HTTP/1.1\r\nhost: a\r\n{field}\r\n");
    assert_eq!(socket.send(large.as_bytes()).await.status, 431);
    // A body is not read.
    let body = request("GET", "/live", &[b'x'; 30 << 10]);
    socket.send(&body).await.is(200, LIVE);
}

#[tokio::test(start_paused = true)]
async fn a_health_check_that_does_not_arrive_in_time_is_closed() {
    let socket = HealthSocket::start();
    let answer = socket.send(b"GET /live HTTP/1.1\r\n").await;
    assert_eq!((answer.status, answer.body.as_str()), (0, ""));
}

#[tokio::test]
async fn silent_connections_keep_no_health_check_out() {
    let socket = HealthSocket::start();
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(socket.connect().await);
    }
    let answer = timeout(Duration::from_secs(4), socket.get("/live"));
    answer.await.unwrap().is(200, LIVE);
    // The oldest are closed, the others have their time.
    let closed = read(silent.swap_remove(0)).await;
    assert_eq!((closed.status, closed.body.as_str()), (0, ""));
    let mut last = silent.pop().unwrap();
    let request = request("GET", "/live", b"");
    last.write_all(&request).await.unwrap();
    read(last).await.is(200, LIVE);
}
