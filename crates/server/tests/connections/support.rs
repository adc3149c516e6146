//! A server in the test's own process.

use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Application, Component, Engine, Settings};
use http::HeaderValue;
use proxy::{Pool, Proxy, Upstream};
use routing::{Template, VariableSet};
use rustls::ServerConfig;
use server::{
    Action, ActionKind, Address, Listen, Options, Pass, Server, Steps, Table, Target, Timeouts,
};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// Long enough for anything that is not to time out.
pub(crate) const NEVER: Duration = Duration::from_secs(60);
pub(crate) const SHORT: Duration = Duration::from_millis(200);

/// What a server may have of something.
#[derive(Clone, Copy)]
pub(crate) struct Most {
    pub(crate) connections: usize,
    pub(crate) exchanges: usize,
    pub(crate) share_files: usize,
    pub(crate) held_for_clients: u64,
}

/// More than is ever wanted.
pub(crate) const ENOUGH: Most = Most {
    connections: 64,
    exchanges: 16,
    share_files: 1000,
    held_for_clients: 64 << 20,
};

/// Long timeouts: no client is given up.
pub(crate) const PATIENT: Timeouts = Timeouts {
    header_read: NEVER,
    idle: NEVER,
    body_read: NEVER,
    send: NEVER,
    park_after: NEVER,
};

pub(crate) struct Running {
    pub(crate) server: Server,
    pub(crate) application: Application,
    pub(crate) address: SocketAddr,
}

/// Waits for something that has to happen.
pub(crate) async fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !happened() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until the one connection of a server is parked.
pub(crate) async fn parked(server: &Server) {
    until("the connection is not parked", || {
        server.parked_connections() == 1
    })
    .await;
}

pub(crate) async fn start(guest: &str, timeouts: Timeouts, connections: usize) -> Running {
    let most = Most {
        connections,
        ..ENOUGH
    };
    start_on(guest, timeouts, None, most, 8).await
}

/// A server that may hold so many bytes for its clients.
pub(crate) async fn start_holding(
    guest: &str,
    timeouts: Timeouts,
    connections: usize,
    held: u64,
) -> Running {
    let most = Most {
        connections,
        held_for_clients: held,
        ..ENOUGH
    };
    start_on(guest, timeouts, None, most, 256).await
}

/// A server that waits for so long for the next request of a connection.
pub(crate) async fn start_with_idle(guest: &str, idle: Duration) -> Running {
    start(guest, Timeouts { idle, ..PATIENT }, 16).await
}

pub(crate) async fn start_with_tls(
    guest: &str,
    timeouts: Timeouts,
    tls: Arc<ServerConfig>,
) -> Running {
    start_on(guest, timeouts, Some(tls), ENOUGH, 8).await
}

async fn start_on(
    guest: &str,
    timeouts: Timeouts,
    tls: Option<Arc<ServerConfig>>,
    most: Most,
    instances: u32,
) -> Running {
    let engine = Engine::new(&engine::Options {
        instances,
        ..engine::Options::default()
    })
    .unwrap();
    let component = Component::load(&engine, &test_components::guest(guest)).unwrap();
    let application = Application::new(engine, component, Settings::new(guest));
    let target = Target::Application(application.clone());
    let (server, address) = listen(target, timeouts, tls, most).await;
    Running {
        server,
        application,
        address,
    }
}

/// A server that sends all requests on to `upstream`.
pub(crate) async fn start_proxy(upstream: SocketAddr, timeouts: Timeouts) -> (Server, SocketAddr) {
    start_proxy_of(&[upstream], timeouts, ENOUGH).await
}

/// A server that sends requests on to these in turns.
pub(crate) async fn start_proxy_of(
    upstreams: &[SocketAddr],
    timeouts: Timeouts,
    most: Most,
) -> (Server, SocketAddr) {
    let servers = upstreams.iter().map(|it| (proxy::Server::tcp(*it), 1.0));
    let upstream = Upstream::new(servers).unwrap();
    let pool = Pool::new(proxy::PoolOptions::default());
    let proxy = Proxy::new(upstream, pool, proxy::Timeouts::default());
    start_passing(Pass::Upstream(proxy), timeouts, most).await
}

/// A server all of whose requests go there.
pub(crate) async fn start_passing(
    pass: Pass,
    timeouts: Timeouts,
    most: Most,
) -> (Server, SocketAddr) {
    let table = Table::new(Vec::new(), [], []);
    listen(Target::Table(table, pass), timeouts, None, most).await
}

/// A server that does this with all requests.
pub(crate) async fn start_action(
    kind: ActionKind,
    timeouts: Timeouts,
    most: Most,
) -> (Server, SocketAddr) {
    let action = Action {
        kind,
        rewrite: None,
        response_headers: Vec::new(),
    };
    let steps = Steps {
        name: None,
        route: routing::Route::new([(routing::Match::default(), action)]),
    };
    let table = Table::new(vec![steps], [], []);
    let target = Target::Table(table, Pass::Steps(0));
    listen(target, timeouts, None, most).await
}

pub(crate) fn template(text: &str) -> Template {
    Template::parse(text, VariableSet::ALL).unwrap()
}

async fn listen(
    target: Target,
    timeouts: Timeouts,
    tls: Option<Arc<ServerConfig>>,
    most: Most,
) -> (Server, SocketAddr) {
    let name = HeaderValue::from_static("test");
    let settings = server::Settings {
        timeouts,
        ..server::Settings::new(name)
    };
    let server = Server::new(Options {
        connections: most.connections,
        exchanges: most.exchanges,
        share_files: most.share_files,
        held_for_clients: most.held_for_clients,
        runtimes: Vec::new(),
        settings: settings.clone(),
    });
    let listen = Listen {
        address: Address::Tcp("127.0.0.1:0".parse().unwrap()),
        backlog: 16,
        target,
        tls,
        forwarded: Vec::new(),
    };
    let settings = Arc::new(settings);
    let plan = server.prepare(vec![listen], settings).await.unwrap();
    server.commit(plan);
    let tcp = |address| match address {
        Address::Tcp(address) => Some(address),
        Address::Unix(_) | Address::Abstract(_) => None,
    };
    let address = server.addresses().into_iter().find_map(tcp).unwrap();
    (server, address)
}

/// Checks that this is the whole of the answer to a client that took too long.
#[track_caller]
pub(crate) fn assert_timed_out(answer: &str) {
    assert!(
        answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with("<p>Error 408.\r\n"), "{answer}");
}

/// Whether the last response of `received` has this body and is complete. A guest's body is chunked where a tick of the
/// timer came between its head and its end, and has a length otherwise.
pub(crate) fn ends_with_body(received: impl AsRef<[u8]>, body: &str) -> bool {
    let chunked = format!("\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let received = received.as_ref();
    received.ends_with(format!("\r\n\r\n{body}").as_bytes())
        || received.ends_with(chunked.as_bytes())
}

/// All that the server sends before it closes the connection, however it does.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut received = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut received));
    match read.await.unwrap() {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    String::from_utf8(received).unwrap()
}

/// As connections and their streams are served by the daemon: in turns, on one thread.
pub(crate) fn run_on_one_thread(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

pub(crate) fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}
