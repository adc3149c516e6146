//! Which connections are used again, and how many there are.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt as _, Empty};
use outbound::{Client, ConnectionBudget, Error, Options, Timeouts};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};

use crate::support::{
    Called as _, LONG, Upstream, client, get, policy, read_head, read_rest, request, text, until,
    within,
};

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

#[tokio::test]
async fn keep_alive_reuses_the_connection() {
    let upstream = Upstream::replies(HELLO).await;
    let client = upstream.client();
    for _ in 0..10 {
        let response = get(&client.clone(), &upstream.uri()).await.unwrap();
        assert_eq!(text(response).await.unwrap(), "hello");
    }
    assert_eq!(upstream.connections(), 1);
    // Another client is another application.
    get(&upstream.client(), &upstream.uri()).await.unwrap();
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn spellings_of_one_destination_share_a_connection() {
    let upstream = Upstream::replies(HELLO).await;
    let port = upstream.address.port();
    let client = client(&["http://localhost:*"]);
    for host in ["localhost", "LOCALHOST", "localhost."] {
        let uri = format!("http://{host}:{port}/");
        text(get(&client, &uri).await.unwrap()).await.unwrap();
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_keep_alive_connection_closed_by_the_server_does_not_fail_the_next_request() {
    let upstream = Upstream::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        stream.write_all(HELLO.as_bytes()).await.unwrap();
        // It says nothing of closing, and does.
    })
    .await;
    let client = upstream.client();
    for round in 0..20 {
        match get(&client, &upstream.uri()).await {
            Ok(response) => assert_eq!(text(response).await.unwrap(), "hello"),
            // The request crossed the end of the connection.
            Err(error) => assert!(matches!(error, Error::Terminated), "{error}"),
        }
        if round % 2 == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert!(upstream.connections() > 10);
}

#[tokio::test]
async fn keep_alive_ends_with_an_unread_body() {
    let upstream = Upstream::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nhello")
            .await
            .unwrap();
        read_rest(&mut stream).await;
    })
    .await;
    let client = upstream.client();
    for round in 1..=3 {
        let mut response = get(&client, &upstream.uri()).await.unwrap();
        within(response.body_mut().frame()).await.unwrap().unwrap();
        drop(response);
        assert_eq!(upstream.connections(), round);
    }
}

#[tokio::test]
async fn a_cancelled_request_closes_its_connection() {
    let closed = Arc::new(Notify::new());
    let notify = Arc::clone(&closed);
    let upstream = Upstream::start(move |mut stream, _| {
        let notify = Arc::clone(&notify);
        async move {
            read_head(&mut stream).await;
            read_rest(&mut stream).await;
            notify.notify_one();
        }
    })
    .await;
    let sending = upstream
        .client()
        .send(request(&upstream.uri()), Timeouts::default());
    let sending = tokio::spawn(sending);
    until(|| upstream.connections() == 1).await;
    sending.abort();
    within(closed.notified()).await;
}

#[tokio::test]
async fn the_request_limit_counts_a_request_until_its_bodies_end() {
    let upstream = Upstream::replies(HELLO).await;
    let options = Options {
        requests: 2,
        ..Options::default()
    };
    let grant = format!("http://{}", upstream.address);
    let client = Client::with_options(policy(&[&grant]), options);
    let first = get(&client, &upstream.uri()).await.unwrap();
    let second = get(&client, &upstream.uri()).await.unwrap();
    let error = get(&client, &upstream.uri()).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionLimit), "{error}");
    assert_eq!(text(first).await.unwrap(), "hello");
    until_sent(&client, &upstream).await;
    drop(second);
    until_sent(&client, &upstream).await;
    assert!(upstream.connections() <= 2, "{}", upstream.connections());
}

/// A body that is read to its end may still be held for a moment by the connection's task.
async fn until_sent(client: &Client, upstream: &Upstream) {
    let sent = async {
        loop {
            match get(client, &upstream.uri()).await {
                Ok(response) => break text(response).await,
                Err(error) => assert!(matches!(error, Error::ConnectionLimit), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert_eq!(within(sent).await.unwrap(), "hello");
}

#[tokio::test]
async fn the_connection_limit_counts_idle_connections() {
    let first = Upstream::replies(HELLO).await;
    let second = Upstream::replies_once(HELLO).await;
    let options = Options {
        connections: 1,
        ..Options::default()
    };
    let client = Client::with_options(policy(&["http://127.0.0.1:*"]), options);
    text(get(&client, &second.uri()).await.unwrap())
        .await
        .unwrap();
    // The server has closed the first one; the pool notices soon.
    let response = within(async {
        loop {
            match get(&client, &first.uri()).await {
                Ok(response) => break response,
                Err(error) => assert!(matches!(error, Error::ConnectionLimit), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    text(response).await.unwrap();
    let error = get(&client, &second.uri()).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionLimit), "{error}");
    text(get(&client, &first.uri()).await.unwrap())
        .await
        .unwrap();
}

/// Allows so many connections, of all clients that share it.
#[derive(Debug)]
struct Budget(Arc<Semaphore>);

impl ConnectionBudget for Budget {
    fn try_acquire(self: Arc<Self>) -> Option<Box<dyn Any + Send + Sync>> {
        let permit = Arc::clone(&self.0).try_acquire_owned().ok()?;
        Some(Box::new(permit))
    }
}

#[tokio::test]
async fn the_connection_budget_is_shared_by_clients() {
    let upstream = Upstream::replies(HELLO).await;
    let budget = Arc::new(Semaphore::new(1));
    let client = || {
        let options = Options {
            budget: Some(Arc::new(Budget(Arc::clone(&budget)))),
            ..Options::default()
        };
        Client::with_options(policy(&["http://127.0.0.1:*"]), options)
    };
    let (first, second) = (client(), client());
    text(get(&first, &upstream.uri()).await.unwrap())
        .await
        .unwrap();
    let error = get(&second, &upstream.uri()).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionLimit), "{error}");
    drop(first);
    until_sent(&second, &upstream).await;
    assert_eq!(budget.available_permits(), 0);
}

#[tokio::test]
async fn a_closed_port_refuses() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = client(&[&format!("http://{address}")]);
    let error = get(&client, &format!("http://{address}/"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Refused), "{error}");
}

#[tokio::test]
async fn host_is_set_from_the_uri_and_hop_by_hop_fields_are_dropped() {
    let (sender, mut heads) = tokio::sync::mpsc::channel(1);
    let upstream = Upstream::start(move |mut stream, _| {
        let sender = sender.clone();
        async move {
            sender.send(read_head(&mut stream).await.unwrap()).await.unwrap();
            let reply = "HTTP/1.1 200 OK\r\nconnection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\n\
                         proxy-authenticate: a\r\ntransfer-encoding: chunked\r\nx-end: 1\r\n\r\n0\r\n\r\n";
            stream.write_all(reply.as_bytes()).await.unwrap();
            read_rest(&mut stream).await;
        }
    })
    .await;
    let request = Request::get(format!("{}path?query", upstream.uri()))
        .header("host", "other.example")
        .header("connection", "x-private")
        .header("x-private", "1")
        .header("proxy-authorization", "1")
        .header("transfer-encoding", "chunked")
        .header("expect", "100-continue")
        .header("x-end", "1")
        .body(Empty::new())
        .unwrap();
    let response = upstream.client().send(request, Timeouts::default());
    let response = within(response).await.unwrap();
    let head = heads.recv().await.unwrap();
    let expected = format!(
        "GET /path?query HTTP/1.1\r\nx-end: 1\r\nhost: {}\r\n\r\n",
        upstream.address
    );
    assert_eq!(head, expected);
    let names: Vec<_> = response
        .headers()
        .keys()
        .map(http::HeaderName::as_str)
        .collect();
    assert_eq!(names, ["x-end"]);
}

#[test]
fn a_pooled_connection_serves_other_runtimes_while_its_own_is_driven() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let server = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let upstream = server.block_on(Upstream::replies(HELLO));
    let client = upstream.client();
    let first = runtime();
    let hello = |client: &Client| {
        let (client, uri) = (client.clone(), upstream.uri());
        async move { text(get(&client, &uri).await?).await }
    };
    assert_eq!(first.block_on(hello(&client)).unwrap(), "hello");

    // The connection's task lives on the first one, which still runs elsewhere.
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let driver = std::thread::spawn(move || {
        first.block_on(async {
            tokio::time::timeout(LONG, stopped).await.unwrap().unwrap();
        });
        first
    });
    assert_eq!(runtime().block_on(hello(&client)).unwrap(), "hello");
    assert_eq!(upstream.connections(), 1);
    stop.send(()).unwrap();

    // Its end takes the connection along, and the next request gets another.
    drop(driver.join().unwrap());
    let second = runtime();
    assert_eq!(second.block_on(hello(&client)).unwrap(), "hello");
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn an_address_of_ipv6_is_called_and_named_with_brackets() {
    // A machine may be without.
    let Ok(listener) = TcpListener::bind("[::1]:0").await else {
        return;
    };
    let address = listener.local_addr().unwrap();
    let uri = format!("http://{address}");
    let client = client(&[&uri]);
    let sending = tokio::spawn(async move { get(&client, &uri).await });
    let (mut stream, _) = within(listener.accept()).await.unwrap();
    let head = read_head(&mut stream).await.unwrap();
    assert_eq!(head, format!("GET / HTTP/1.1\r\nhost: {address}\r\n\r\n"));
    stream.write_all(HELLO.as_bytes()).await.unwrap();
    let response = sending.await.unwrap().unwrap();
    assert_eq!(text(response).await.unwrap(), "hello");
}
