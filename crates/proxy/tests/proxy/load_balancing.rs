//! Which server is asked. The order of the turns has its tests beside the code.

use proxy::{Pool, Proxy, ProxyError, Server, Timeouts, Upstream};
use tokio::net::TcpListener;

use crate::support::{Fake, HELLO, Proxied as _, get, text};

fn balanced(servers: Vec<(Server, f64)>) -> Proxy {
    let upstream = Upstream::new(servers).unwrap();
    Proxy::new(upstream, Pool::default(), Timeouts::default())
}

/// A server that refuses connections.
async fn unreachable() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Server::tcp(listener.local_addr().unwrap())
}

async fn named(name: &str) -> Fake {
    let length = name.len();
    Fake::replies(format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{name}"
    ))
    .await
}

#[tokio::test]
async fn load_balancing_by_weight_reaches_each_server() {
    let (a, b, c) = (named("a").await, named("b").await, named("c").await);
    let proxy = balanced(vec![
        (a.server(), 2.0),
        (b.server(), 0.5),
        (c.server(), 0.0),
    ]);
    let mut turns = String::new();
    for _ in 0..10 {
        turns += &text(get(&proxy).await.unwrap()).await.unwrap();
    }
    assert_eq!(turns, "aabaaaabaa");
    // Each has a connection of its own that is kept.
    assert_eq!(
        (a.connections(), b.connections(), c.connections()),
        (1, 1, 0)
    );
}

#[tokio::test]
async fn load_balancing_does_not_fail_over() {
    let good = Fake::replies(HELLO).await;
    let proxy = balanced(vec![(good.server(), 1.0), (unreachable().await, 1.0)]);
    for _ in 0..10 {
        text(get(&proxy).await.unwrap()).await.unwrap();
        let error = get(&proxy).await.unwrap_err();
        assert!(matches!(error, ProxyError::Connect(_)), "{error}");
        assert_eq!(error.status(), 502);
    }
}

#[tokio::test]
async fn an_upstream_without_servers_is_a_bad_gateway() {
    let good = Fake::replies(HELLO).await;
    for servers in [vec![], vec![(good.server(), 0.0)]] {
        let error = get(&balanced(servers)).await.unwrap_err();
        assert!(matches!(error, ProxyError::NoServer), "{error}");
        assert_eq!(error.status(), 502);
    }
    assert_eq!(good.connections(), 0);
}

#[tokio::test]
async fn an_ipv6_server_is_reached() {
    // A machine may be without.
    let Ok(listener) = TcpListener::bind("[::1]:0").await else {
        return;
    };
    let proxy = balanced(vec![(Server::tcp(listener.local_addr().unwrap()), 1.0)]);
    let sending = tokio::spawn(async move { text(get(&proxy).await?).await });
    let (mut stream, _) = listener.accept().await.unwrap();
    crate::support::read_head(&mut stream).await.unwrap();
    crate::support::write(&mut stream, HELLO).await;
    assert_eq!(sending.await.unwrap().unwrap(), "hello");
}
