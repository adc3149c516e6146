//! HTTP/2 streams whose clients take their time.

use std::time::{Duration, Instant};

use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::Request;
use server::Timeouts;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::support::{PATIENT, Running, SHORT, run, start};

/// Bytes that the client takes of a stream before it has read them.
const WINDOW: u32 = 20_000;

const IMPATIENT: Timeouts = Timeouts {
    send: SHORT,
    ..PATIENT
};

struct Client {
    requests: SendRequest<bytes::Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    async fn connect(running: &Running) -> Self {
        Self::with_window(running, WINDOW).await
    }

    async fn with_window(running: &Running, window: u32) -> Self {
        let stream = TcpStream::connect(running.address).await.unwrap();
        let (requests, connection) = h2::client::Builder::new()
            .initial_window_size(window)
            .handshake(stream)
            .await
            .unwrap();
        Self {
            requests,
            connection: tokio::spawn(connection),
        }
    }

    async fn ask(&mut self, target: &str) -> RecvStream {
        self.requests = self.requests.clone().ready().await.unwrap();
        let request = Request::get(format!("http://a{target}")).body(()).unwrap();
        let (response, _): (ResponseFuture, _) = self.requests.send_request(request, true).unwrap();
        response.await.unwrap().into_body()
    }
}

/// Reads to the end, with a pause behind each piece.
async fn read(mut body: RecvStream, pause: Duration) -> Result<usize, h2::Error> {
    let mut total = 0;
    while let Some(piece) = body.data().await {
        let length = piece?.len();
        total += length;
        sleep(pause).await;
        body.flow_control().release_capacity(length)?;
    }
    Ok(total)
}

#[test]
fn what_came_before_a_reset_of_a_failed_response_arrives() {
    run(async {
        let running = start("trap_after_headers", PATIENT, 16).await;
        // The client takes a byte at a time, so that h2 still has the others when the guest fails.
        let mut client = Client::with_window(&running, 1).await;
        let mut body = client.ask("/?50").await;
        sleep(SHORT).await;
        let mut text = Vec::new();
        let error = loop {
            match body.data().await.unwrap() {
                Ok(piece) => {
                    text.extend_from_slice(&piece);
                    body.flow_control().release_capacity(piece.len()).unwrap();
                }
                Err(error) => break error,
            }
        };
        assert_eq!(text, b"partial");
        assert!(error.is_reset(), "{error}");
    });
}

#[test]
fn a_stream_whose_window_stays_closed_is_reset_alone() {
    run(async {
        let running = start("download", IMPATIENT, 16).await;
        let mut client = Client::connect(&running).await;
        // Endless for the guest, and as a whole in the server's memory already.
        for length in ["1000000000", "60000"] {
            let closed = client.ask(&format!("/?{length}")).await;
            let begun = Instant::now();
            while running.application.active() > 0 {
                assert!(begun.elapsed() < Duration::from_secs(10), "{length}");
                sleep(SHORT / 10).await;
            }
            sleep(SHORT * 2).await;
            let other = client.ask("/?100000").await;
            assert_eq!(read(other, Duration::ZERO).await.unwrap(), 100_000);
            let error = read(closed, Duration::ZERO).await.unwrap_err();
            assert_eq!(error.reason(), Some(Reason::CANCEL), "{length}: {error}");
        }
    });
}

#[test]
fn a_client_that_is_slow_is_waited_for() {
    run(async {
        let running = start("download", IMPATIENT, 16).await;
        let mut client = Client::connect(&running).await;
        let begun = Instant::now();
        let body = client.ask("/?200000").await;
        assert_eq!(read(body, SHORT / 20).await.unwrap(), 200_000);
        assert!(begun.elapsed() > SHORT * 2);
        // A guest that takes its time is no slow client.
        let running = start("sleep", IMPATIENT, 16).await;
        let mut client = Client::connect(&running).await;
        let body = client.ask("/?600").await;
        assert_eq!(read(body, Duration::ZERO).await.unwrap(), 6);
    });
}

#[test]
fn a_connection_without_requests_is_closed() {
    run(async {
        let timeouts = Timeouts {
            idle: SHORT,
            ..PATIENT
        };
        let running = start("sleep", timeouts, 16).await;
        let mut client = Client::connect(&running).await;
        // It is not idle while a request is in progress, however long that is.
        let body = client.ask("/?1000").await;
        assert_eq!(read(body, Duration::ZERO).await.unwrap(), 6);
        let Client {
            requests,
            connection,
        } = client;
        let ended = timeout(Duration::from_secs(10), connection).await;
        ended.unwrap().unwrap().unwrap();
        drop(requests);
        // Nor may it leave behind what it never took.
        let running = start(
            "download",
            Timeouts {
                idle: SHORT,
                ..IMPATIENT
            },
            16,
        )
        .await;
        let mut client = Client::connect(&running).await;
        let _closed = client.ask("/?60000").await;
        let ended = timeout(Duration::from_secs(10), client.connection).await;
        assert!(ended.is_ok());
    });
}
