//! The limit on connections to other servers.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::support::{ENOUGH, Most, PATIENT, read_to_end, run, start_proxy_of};

const LONG: Duration = Duration::from_secs(20);

const ONE: Most = Most {
    exchanges: 1,
    ..ENOUGH
};

/// A server that answers each request as soon as it has the head, whatever follows, and keeps the connection. It
/// tells of each connection that ends.
async fn hasty() -> (std::net::SocketAddr, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, ended) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut received = Vec::new();
                while let Ok(1..) = stream.read_buf(&mut received).await {
                    let heads = received.windows(4).filter(|it| it == b"\r\n\r\n").count();
                    if heads > 0 {
                        received.clear();
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                        stream.write_all(answer).await.unwrap();
                    }
                }
                sender.send(()).unwrap();
            });
        }
    });
    (address, ended)
}

/// The status of a request's response.
async fn get(address: std::net::SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    answer.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn an_upload_that_continues_after_its_response_counts_until_it_ends() {
    run(async {
        let (upstream, mut ended) = hasty().await;
        let (_server, address) = start_proxy_of(&[upstream], PATIENT, ONE).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        let request = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nbegun";
        client.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok") {
            let read = timeout(LONG, client.read_buf(&mut answer)).await;
            assert!(read.unwrap().unwrap() > 0);
        }
        // All that belongs to the response has had its time to go.
        sleep(Duration::from_millis(50)).await;
        assert_eq!(get(address).await, "503");
        client.write_all(&[b'x'; 995]).await.unwrap();
        timeout(LONG, ended.recv()).await.unwrap().unwrap();
        let served = async {
            while get(address).await != "200" {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LONG, served).await.unwrap();
    });
}

#[test]
fn an_idle_connection_to_another_server_makes_room_for_a_request() {
    run(async {
        let (first, mut first_ended) = hasty().await;
        let (second, mut second_ended) = hasty().await;
        let (_server, address) = start_proxy_of(&[first, second], PATIENT, ONE).await;
        for _ in 0..3 {
            assert_eq!(get(address).await, "200");
            assert_eq!(get(address).await, "200");
            timeout(LONG, first_ended.recv()).await.unwrap().unwrap();
        }
        for _ in 0..2 {
            timeout(LONG, second_ended.recv()).await.unwrap().unwrap();
        }
    });
}
