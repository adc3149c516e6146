//! Servers that send fixed bytes.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::{read_head, read_rest, read_to};

/// A short response.
pub const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// A server on a socket that does what the test says.
pub struct Fake {
    /// Where it listens.
    pub address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Fake {
    /// Hands every connection to `handle`, with its number.
    pub async fn start<F, R>(handle: F) -> Self
    where
        F: Fn(TcpStream, usize) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(handle(stream, number));
            }
        });
        Self { address, accepted }
    }

    /// Answers each request, which must not have a body, with these bytes, and keeps the connection open.
    pub async fn replies(reply: impl Into<Vec<u8>>) -> Self {
        let reply = Arc::new(reply.into());
        Self::start(move |mut stream, _| {
            let reply = Arc::clone(&reply);
            async move {
                while read_head(&mut stream).await.is_some() {
                    let _ = stream.write_all(&reply).await;
                }
            }
        })
        .await
    }

    /// Answers one request with these bytes, and closes.
    pub async fn replies_once(reply: impl Into<Vec<u8>>) -> Self {
        let reply = Arc::new(reply.into());
        Self::start(move |mut stream, _| {
            let reply = Arc::clone(&reply);
            async move {
                read_head(&mut stream).await;
                let _ = stream.write_all(&reply).await;
                let _ = stream.shutdown().await;
                read_rest(&mut stream).await;
            }
        })
        .await
    }

    /// Answers no request, and tells what it was sent until the connection ended.
    pub async fn listens() -> (Self, mpsc::Receiver<String>) {
        let (sender, received) = mpsc::channel(4);
        let fake = Self::start(move |mut stream, _| {
            let sender = sender.clone();
            async move {
                let rest = read_rest(&mut stream).await;
                sender.send(rest).await.unwrap();
            }
        })
        .await;
        (fake, received)
    }

    /// Reads these bytes after a head, responds with [`HELLO`], reports what it read, and repeats that.
    pub async fn answers_after(end: &'static str) -> (Self, mpsc::Receiver<String>) {
        let (sender, received) = mpsc::channel(4);
        let fake = Self::start(move |mut stream, _| {
            let sender = sender.clone();
            async move {
                while let Some(head) = read_head(&mut stream).await {
                    let body = read_to(&mut stream, end).await;
                    stream.write_all(HELLO.as_bytes()).await.unwrap();
                    sender.send(head + &body).await.unwrap();
                }
            }
        })
        .await;
        (fake, received)
    }

    /// How many connections it was sent.
    pub fn connections(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// What leads to it.
    pub fn uri(&self) -> String {
        format!("http://{}/", self.address)
    }
}
