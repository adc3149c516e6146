//! What connections without requests take of the server's memory.

use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use test_suite::{Client, Running, Socket, Watch, within};

use crate::peer::{Pair, start};
use crate::support::Daemon;

/// So many that what the process takes besides does not count.
const CONNECTIONS: u64 = 2000;

/// The server gives memory back when it has been idle for some seconds.
const SETTLED: Duration = Duration::from_secs(60);

/// Checks that each connection takes at most so much once it has been idle for a while.
fn assert_memory<S: Socket>(server: &Running, connect: impl Fn() -> Client<S>, most: u64) {
    // Those of the tests are many, too.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let ask = |client: &mut Client<S>| client.get("/").assert_text("Hello, world!\n");
    // What requests take as such is there already.
    let mut first = connect();
    (0..200).for_each(|_| ask(&mut first));
    let watch = Watch::start(&[server.pid()]);
    let mut open: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let mut client = connect();
            ask(&mut client);
            client
        })
        .collect();
    let each = || watch.now_above() / CONNECTIONS;
    within(SETTLED, "idle connections give their memory back", || {
        (each() < most).then_some(())
    });
    // They are served as before.
    ask(&mut first);
    open.iter_mut().step_by(100).for_each(ask);
    assert_eq!(server.get("/status/connections/closed"), "0");
}

#[test]
fn an_idle_connection_takes_a_few_kib_of_memory() {
    let server = Running::guests(&Daemon, &["hello"]);
    assert_memory(&server, || server.connect("hello"), 8 << 10);
}

#[test]
fn an_idle_connection_with_tls_takes_some_kib_more_memory() {
    let pair = Pair::new(&["localhost"]);
    let server = start("hello", r#"{"certificate": "one"}"#, &[("one", &pair)]);
    let address: SocketAddr = server.address("hello");
    let connect = || pair.connect(address, "localhost");
    assert_memory(&server, connect, 20 << 10);
}
