//! What is held in memory for clients that do not take their responses.

use std::time::{Duration, Instant};

use h2::client::{ResponseFuture, SendRequest};
use h2::{Error, RecvStream};
use http::Request;
use server::{ActionKind, HeldForClients, Return, Timeouts};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::frames::{RawClient, get};
use crate::support::{
    ENOUGH, PATIENT, Running, SHORT, run, start, start_action, start_holding, template,
    until as wait_until,
};

const MANY: u64 = 1 << 30;
const DEADLINE: Duration = Duration::from_secs(30);

/// A client of HTTP/2 that opens no window beyond its first.
struct Client {
    requests: SendRequest<bytes::Bytes>,
    connection: JoinHandle<Result<(), Error>>,
    /// Not read.
    responses: Vec<RecvStream>,
}

impl Client {
    async fn connect(running: &Running, window: u32) -> Self {
        let stream = TcpStream::connect(running.address).await.unwrap();
        let (requests, connection) = h2::client::Builder::new()
            .initial_window_size(window)
            .initial_connection_window_size(1 << 24)
            .handshake(stream)
            .await
            .unwrap();
        Self {
            requests,
            connection: tokio::spawn(connection),
            responses: Vec::new(),
        }
    }

    async fn send(&mut self, target: &str) -> ResponseFuture {
        self.try_send(target).await.unwrap()
    }

    async fn try_send(&mut self, target: &str) -> Result<ResponseFuture, Error> {
        self.requests = self.requests.clone().ready().await?;
        let request = Request::get(format!("http://a{target}")).body(()).unwrap();
        Ok(self.requests.send_request(request, true)?.0)
    }

    async fn ask(&mut self, target: &str) {
        let response = self.send(target).await.await.unwrap();
        self.responses.push(response.into_body());
    }

    async fn ended(self) {
        let ended = timeout(DEADLINE, self.connection).await;
        _ = ended.unwrap().unwrap();
    }
}

async fn read(mut body: RecvStream) -> Result<usize, Error> {
    let mut total = 0;
    while let Some(piece) = body.data().await {
        let length = piece?.len();
        total += length;
        body.flow_control().release_capacity(length)?;
    }
    Ok(total)
}

async fn until(running: &Running, what: &str, is_so: impl Fn(&HeldForClients) -> bool) {
    let begun = Instant::now();
    loop {
        let held = running.server.held_for_clients();
        if is_so(&held) {
            return;
        }
        assert!(begun.elapsed() < DEADLINE, "{what}: {held:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_client_that_takes_no_finished_response_is_reset_and_nothing_stays_held() {
    run(async {
        let timeouts = Timeouts {
            send: SHORT * 5,
            ..PATIENT
        };
        let running = start("download", timeouts, 64).await;
        let mut clients = Vec::new();
        for _ in 0..20 {
            let mut client = Client::connect(&running, 1).await;
            client.ask("/?16384").await;
            clients.push(client);
        }
        // Each with its stream.
        let all = 20 * (16384 + 3 * 1024);
        until(&running, "held", |held| held.bytes == all).await;
        for client in clients {
            client.ended().await;
        }
        until(&running, "given back", |held| held.bytes == 0).await;
        let held = running.server.held_for_clients();
        assert_eq!(held.ended_connections, 20, "{held:?}");
    });
}

#[test]
fn streams_are_reset_alone_once_a_connection_holds_many() {
    run(async {
        let timeouts = Timeouts {
            send: SHORT * 5,
            ..PATIENT
        };
        let running = start("download", timeouts, 64).await;
        let mut client = Client::connect(&running, 66_000).await;
        // Larger than what h2 is given with its end.
        client.ask("/?70000").await;
        let stuck = client.responses.pop().unwrap();
        until(&running, "held", |held| held.bytes > 0).await;
        until(&running, "given back", |held| held.bytes == 0).await;
        let response = client.send("/?50000").await.await.unwrap();
        assert_eq!(read(response.into_body()).await.unwrap(), 50_000);
        assert!(read(stuck).await.is_err());
        assert_eq!(running.server.held_for_clients().ended_connections, 0);
    });
}

#[test]
fn a_request_in_progress_finishes_before_its_stalled_connection_is_reset() {
    run(async {
        let timeouts = Timeouts {
            send: SHORT * 15,
            ..PATIENT
        };
        let running = start("sleep", timeouts, 64).await;
        let mut client = Client::connect(&running, 1).await;
        client.ask("/?0").await;
        // Beyond the time at which the first response makes the connection a stalled one.
        let response = timeout(DEADLINE, client.send("/?4800").await).await;
        assert_eq!(response.unwrap().unwrap().status(), 200);
        client.ended().await;
        assert_eq!(running.server.held_for_clients().ended_connections, 1);
    });
}

#[test]
fn back_pressure_delays_further_responses_of_a_connection_that_holds_much() {
    run(async {
        let running = start_holding("download", PATIENT, 64, MANY).await;
        let mut client = Client::connect(&running, 10_000).await;
        let mut begun = 0;
        while begun < 128 {
            // As a whole in the server's memory, and a sixth of it in the client's window.
            let response = client.send("/?60000").await;
            match timeout(SHORT * 5, response).await {
                Ok(response) => client.responses.push(response.unwrap().into_body()),
                Err(_) => break,
            }
            begun += 1;
        }
        let held = running.server.held_for_clients();
        assert!(begun < 110, "{begun} responses, {held:?}");
        assert!((1 << 22..5 << 20).contains(&held.bytes), "{held:?}");
        // Others are served, and the client is, once it takes something.
        let mut other = Client::connect(&running, 1 << 20).await;
        let response = other.send("/?300000").await.await.unwrap();
        assert_eq!(read(response.into_body()).await.unwrap(), 300_000);
        for body in client.responses.drain(..) {
            assert_eq!(read(body).await.unwrap(), 60_000);
        }
        client.ask("/?100").await;
    });
}

#[test]
fn connections_that_take_nothing_are_reset_when_too_much_is_held_for_all() {
    run(async {
        let limit = 1 << 20;
        let running = start_holding("download", PATIENT, 64, limit).await;
        let mut clients = Vec::new();
        for _ in 0..10 {
            let mut client = Client::connect(&running, 1).await;
            for _ in 0..16 {
                let Ok(response) = client.try_send("/?16384").await else {
                    break;
                };
                // Further ones of a connection wait when memory is short.
                if let Ok(Ok(response)) = timeout(SHORT, response).await {
                    client.responses.push(response.into_body());
                }
            }
            clients.push(client);
            // Newcomers are served.
            let mut other = Client::connect(&running, 1 << 20).await;
            let response = timeout(DEADLINE, other.send("/?100000").await).await;
            let body = response.unwrap().unwrap().into_body();
            assert_eq!(read(body).await.unwrap(), 100_000);
        }
        until(&running, "enough is given back", |held| {
            held.bytes <= limit && held.ended_connections > 0
        })
        .await;
    });
}

#[test]
fn what_http_1_holds_for_a_client_that_does_not_read_is_counted() {
    run(async {
        let timeouts = Timeouts {
            send: SHORT * 5,
            ..PATIENT
        };
        let running = start("download", timeouts, 64).await;
        let mut client = TcpStream::connect(running.address).await.unwrap();
        let request = b"GET /?1000000000 HTTP/1.1\r\nhost: a\r\n\r\n";
        client.write_all(request).await.unwrap();
        until(&running, "held", |held| held.bytes > 10_000).await;
        until(&running, "given back", |held| held.bytes == 0).await;
    });
}

#[test]
fn heads_of_http2_responses_that_a_client_does_not_take_are_held_until_it_leaves() {
    run(async {
        const HEADS: u64 = 64;
        let location = template("https://$host$request_uri");
        let answer = ActionKind::Return(Return::new(301, Some(location)));
        let (server, address) = start_action(answer, PATIENT, ENOUGH).await;
        let mut client = RawClient::connect(address).await;
        let target = format!("/{}", "x".repeat(8000));
        let mut sent = 0;
        // The kernel takes some megabytes first.
        while server.held_for_clients().bytes < HEADS * 8000 {
            assert!(sent < 10_000, "{:?}", server.held_for_clients());
            client.send(&get(2 * sent + 1, &target)).await;
            sent += 1;
            wait_until("begun", || server.requests() >= u64::from(sent)).await;
        }
        drop(client);
        wait_until("given back", || server.held_for_clients().bytes == 0).await;
    });
}

#[test]
fn heads_of_http2_responses_that_are_taken_are_not_held() {
    run(async {
        let location = template("https://$host$request_uri");
        let answer = ActionKind::Return(Return::new(301, Some(location)));
        let (server, address) = start_action(answer, PATIENT, ENOUGH).await;
        let mut client = RawClient::connect(address).await;
        let target = format!("/{}", "x".repeat(8000));
        for number in 0..100 {
            client.send(&get(2 * number + 1, &target)).await;
            client.round_trips().await;
        }
        wait_until("written", || server.held_for_clients().bytes == 0).await;
    });
}
