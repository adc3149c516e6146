//! Clients that hang up during a request, in every state of a connection.

use std::time::Duration;

use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::support::{PATIENT, Running, run, start, start_proxy, until};
use crate::tls::Tls;

/// A body that is owed: its guest does not read it.
const BODY_OWED: &str = "POST /?60000 HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nx";
const CHUNKS_OWED: &str =
    "POST /?60000 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nx";
/// Bytes of the next request that hyper keeps.
const PIPELINED: &str =
    "GET /?60000 HTTP/1.1\r\nhost: a\r\n\r\nGET /?60000 HTTP/1.1\r\nhost: a\r\n\r\n";

async fn begun(running: &Running, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    until("the guest is at work", || running.application.active() > 0).await;
    stream
}

async fn assert_cancelled(running: &Running, what: &str) {
    until(what, || running.application.active() == 0).await;
    let connections = || running.server.connections();
    until(what, || connections().closed == connections().accepted).await;
}

#[test]
fn a_hang_up_with_bytes_unread_cancels_the_instance() {
    run(async {
        let running = start("sleep", PATIENT, 16).await;
        for request in [BODY_OWED, CHUNKS_OWED, PIPELINED] {
            drop(begun(&running, request).await);
            assert_cancelled(&running, request).await;
            // More than what is kept is on its way.
            let mut stream = begun(&running, request).await;
            stream.write_all(&[b'x'; 100_000]).await.unwrap();
            drop(stream);
            assert_cancelled(&running, request).await;
        }
    });
}

#[test]
fn a_hang_up_by_reset_or_half_close_cancels_the_instance() {
    run(async {
        let running = start("sleep", PATIENT, 16).await;
        for request in [BODY_OWED, PIPELINED] {
            let stream = begun(&running, request).await;
            socket2::SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
            drop(stream);
            assert_cancelled(&running, request).await;
            let mut stream = begun(&running, request).await;
            stream.shutdown().await.unwrap();
            assert_cancelled(&running, request).await;
        }
    });
}

#[test]
fn a_hang_up_during_the_response_cancels_the_instance() {
    run(async {
        // It computes for ever after the head of its response.
        let running = start("spin", PATIENT, 16).await;
        let request = PIPELINED.replace("60000", "after");
        let mut stream = begun(&running, &request).await;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        stream.shutdown().await.unwrap();
        assert_cancelled(&running, "streaming").await;
        // The client takes nothing of an endless response.
        let running = start("download", PATIENT, 16).await;
        let request = PIPELINED.replace("60000", "1000000000");
        let mut stream = begun(&running, &request).await;
        sleep(Duration::from_millis(300)).await;
        stream.shutdown().await.unwrap();
        assert_cancelled(&running, "stalled").await;
    });
}

#[test]
fn a_hang_up_over_tls_cancels_the_instance() {
    run(async {
        let tls = Tls::start("sleep", PATIENT).await;
        for request in [BODY_OWED, PIPELINED] {
            let mut stream = tls.connect().await;
            stream.write_all(request.as_bytes()).await.unwrap();
            let active = || tls.running.application.active();
            until("the guest is at work", || active() > 0).await;
            // Without `close_notify`, as when a process is killed.
            drop(stream);
            assert_cancelled(&tls.running, request).await;
        }
    });
}

#[test]
fn a_hang_up_over_http2_cancels_the_instances_of_all_streams() {
    run(async {
        for (guest, target) in [("sleep", "/?60000"), ("download", "/?1000000000")] {
            let running = start(guest, PATIENT, 16).await;
            let stream = TcpStream::connect(running.address).await.unwrap();
            let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
            let connection = tokio::spawn(connection);
            let mut sending = Vec::new();
            for _ in 0..3 {
                requests = requests.ready().await.unwrap();
                let request = Request::post(format!("http://a{target}")).body(()).unwrap();
                let (response, mut body) = requests.send_request(request, false).unwrap();
                body.send_data(bytes::Bytes::from_static(b"x"), false)
                    .unwrap();
                sending.push((response, body));
            }
            until("the guests are at work", || {
                running.application.active() == 3
            })
            .await;
            connection.abort();
            assert_cancelled(&running, guest).await;
        }
    });
}

#[test]
fn a_hang_up_during_a_request_that_is_proxied_closes_the_upstream_connection() {
    run(async {
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (server, address) = start_proxy(upstream.local_addr().unwrap(), PATIENT).await;
        for request in [BODY_OWED, PIPELINED] {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(request.as_bytes()).await.unwrap();
            let (mut connection, _) = upstream.accept().await.unwrap();
            drop(client);
            let mut received = Vec::new();
            let read = connection.read_to_end(&mut received);
            let read = tokio::time::timeout(Duration::from_secs(20), read).await;
            // It ends, in order or not.
            let _ = read.unwrap();
            until("the connection is closed", || {
                server.connections().closed == server.connections().accepted
            })
            .await;
        }
    });
}

#[test]
fn clients_that_hang_up_leave_their_instances_to_others() {
    run(async {
        let running = start("sleep", PATIENT, 256).await;
        // There are 8 instances.
        for _ in 0..4 {
            for request in [BODY_OWED, PIPELINED, CHUNKS_OWED].iter().cycle().take(24) {
                let mut stream = TcpStream::connect(running.address).await.unwrap();
                stream.write_all(request.as_bytes()).await.unwrap();
            }
            sleep(Duration::from_millis(50)).await;
        }
        until("nothing is in progress", || {
            running.application.active() == 0
        })
        .await;
        assert!(running.application.stats().instances_started > 0);
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let request = b"GET /?1 HTTP/1.1\r\nhost: a\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
    });
}

#[test]
fn a_client_that_does_not_hang_up_is_served_whatever_it_has_sent() {
    run(async {
        let running = start("sleep", PATIENT, 16).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        // Each takes several checks.
        let request = b"GET /?1300 HTTP/1.1\r\nhost: a\r\n\r\n";
        stream.write_all(&[&request[..]; 2].concat()).await.unwrap();
        let mut received = String::new();
        while received.matches("slept\n").count() < 2 {
            let mut piece = [0; 4096];
            let length = stream.read(&mut piece).await.unwrap();
            assert!(length > 0, "{received}");
            received.push_str(std::str::from_utf8(&piece[..length]).unwrap());
        }
    });
}
