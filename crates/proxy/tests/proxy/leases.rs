//! How long a connection counts, and what may still be sent of a body when its response is over.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use proxy::{Pool, PoolOptions, Proxy, ResponseBody, Timeouts, Upstream};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;

use crate::support::{
    Fake, HELLO, Proxied as _, SHORT, empty, pieces, read_head, request, text, until, within, write,
};

/// A server that answers when it has the head, and then reads. It tells how many bytes came behind the head when
/// the connection has ended.
async fn hasty() -> (Fake, mpsc::Receiver<u64>) {
    let (sender, ended) = mpsc::channel(4);
    let fake = Fake::start(move |mut stream, _| {
        let sender = sender.clone();
        async move {
            read_head(&mut stream).await;
            write(&mut stream, HELLO).await;
            let mut total = 0;
            let mut buffer = vec![0; 256 * 1024];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                total += length as u64;
            }
            sender.send(total).await.unwrap();
        }
    })
    .await;
    (fake, ended)
}

/// Whether a lease is held.
fn is_held(lease: &Arc<()>) -> bool {
    Arc::strong_count(lease) > 1
}

async fn send_with<B>(proxy: &Proxy, body: B, lease: &Arc<()>) -> http::Response<ResponseBody>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<proxy::BoxError>,
{
    let request = request("POST", &[]).body(body).unwrap();
    within(proxy.send_with(request, Arc::clone(lease)))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_lease_is_kept_until_the_rest_of_an_upload_has_been_sent() {
    let (fake, mut ended) = hasty().await;
    let proxy = fake.proxy();
    let lease = Arc::new(());
    let (writer, body) = pieces();
    writer.write("begun");
    let response = send_with(&proxy, body, &lease).await;
    assert_eq!(text(response).await.unwrap(), "hello");
    // All that the response has left has had its time to go.
    tokio::time::sleep(SHORT / 4).await;
    assert!(is_held(&lease));
    writer.write("ended");
    drop(writer);
    within(ended.recv()).await.unwrap();
    until(|| !is_held(&lease)).await;
}

#[tokio::test]
async fn an_upload_after_the_response_is_limited_in_time() {
    let (fake, mut ended) = hasty().await;
    let proxy = fake.proxy_with(Timeouts {
        after_response: SHORT,
        ..Timeouts::default()
    });
    let lease = Arc::new(());
    let (writer, body) = pieces();
    writer.write("begun");
    let response = send_with(&proxy, body, &lease).await;
    assert_eq!(text(response).await.unwrap(), "hello");
    within(ended.recv()).await.unwrap();
    until(|| writer.is_dropped()).await;
    until(|| !is_held(&lease)).await;
}

#[tokio::test]
async fn an_upload_after_the_response_is_limited_in_time_if_the_server_reads_nothing() {
    let fake = Fake::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        write(&mut stream, HELLO).await;
        std::future::pending::<()>().await;
    })
    .await;
    let proxy = fake.proxy_with(Timeouts {
        after_response: SHORT,
        send: SHORT,
        ..Timeouts::default()
    });
    let lease = Arc::new(());
    let response = send_with(&proxy, Endless, &lease).await;
    assert_eq!(text(response).await.unwrap(), "hello");
    until(|| !is_held(&lease)).await;
}

/// A body without an end, as fast as it is read.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        static PIECE: [u8; 65_536] = [b'x'; 65_536];
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&PIECE)))))
    }
}

#[tokio::test]
async fn an_upload_after_the_response_is_limited_in_bytes() {
    let (fake, mut ended) = hasty().await;
    let proxy = fake.proxy_with(Timeouts {
        after_response: Duration::from_secs(600),
        ..Timeouts::default()
    });
    let lease = Arc::new(());
    let response = send_with(&proxy, Endless, &lease).await;
    assert_eq!(text(response).await.unwrap(), "hello");
    let total = within(ended.recv()).await.unwrap();
    assert!(total >= 64 << 20, "{total}");
    until(|| !is_held(&lease)).await;
}

#[tokio::test]
async fn an_idle_connection_has_its_lease_until_the_next_request_or_its_end() {
    let fakes = [Fake::replies(HELLO).await, Fake::replies(HELLO).await];
    let pool = Pool::new(PoolOptions::default());
    let [first, second] = fakes.each_ref().map(|fake| {
        let upstream = Upstream::single(fake.server());
        Proxy::new(upstream, pool.clone(), Timeouts::default())
    });
    let leases = [(); 3].map(|()| Arc::new(()));
    for (proxy, lease) in [(&first, &leases[0]), (&second, &leases[1])] {
        text(send_with(proxy, empty(), lease).await).await.unwrap();
    }
    assert!(is_held(&leases[0]) && is_held(&leases[1]));
    // The same connection, with another lease.
    let response = send_with(&first, empty(), &leases[2]).await;
    text(response).await.unwrap();
    assert!(!is_held(&leases[0]) && is_held(&leases[2]));
    assert_eq!(fakes[0].connections(), 1);
    // The other one has been idle for longer.
    assert!(first.close_longest_idle());
    assert!(!is_held(&leases[1]) && is_held(&leases[2]));
    assert_eq!(pool.idle(&fakes[1].server()), 0);
    assert!(second.close_longest_idle());
    assert!(!is_held(&leases[2]));
    assert!(!first.close_longest_idle());
}

#[tokio::test]
async fn a_lease_ends_with_a_failed_request() {
    let (fake, mut received) = Fake::listens().await;
    let proxy = fake.proxy();
    let lease = Arc::new(());
    let held = Arc::clone(&lease);
    let sending = tokio::spawn(async move {
        let request = request("GET", &[]).body(empty()).unwrap();
        proxy.send_with(request, held).await.map(drop)
    });
    until(|| fake.connections() == 1).await;
    assert!(is_held(&lease));
    sending.abort();
    within(received.recv()).await.unwrap();
    until(|| !is_held(&lease)).await;
    // Nor does a server that is not there keep it.
    let unreachable = proxy::Server::unix("/nothing/here");
    let proxy = crate::support::proxy(unreachable);
    let request = request("GET", &[]).body(empty()).unwrap();
    assert!(proxy.send_with(request, Arc::clone(&lease)).await.is_err());
    assert!(!is_held(&lease));
}
