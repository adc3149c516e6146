//! Connections that pipeline requests, beside others.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::yield_now;

use crate::support::{PATIENT, run_on_one_thread, start};

#[test]
fn a_pipelining_connection_gets_one_turn_at_a_time() {
    run_on_one_thread(async {
        const REQUESTS: usize = 100;
        let running = start("hello", PATIENT, 16).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let requests = "GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(REQUESTS);
        stream.write_all(requests.as_bytes()).await.unwrap();
        let server = running.server.clone();
        let bystander = tokio::spawn(async move {
            let (mut before, mut most) = (0, 0);
            while before < REQUESTS as u64 {
                let now = server.requests();
                most = most.max(now - before);
                before = now;
                yield_now().await;
            }
            most
        });
        let mut received = String::new();
        while received.matches("Hello, world!\n").count() < REQUESTS {
            let mut piece = [0; 4096];
            let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut piece));
            let length = read.await.unwrap().unwrap();
            assert!(length > 0, "{received}");
            received.push_str(std::str::from_utf8(&piece[..length]).unwrap());
        }
        // It may have a turn of its own, for what it has received, and hyper answers up to 16 in one.
        let most = bystander.await.unwrap();
        assert!(most < 8, "{most} requests in one turn");
    });
}
