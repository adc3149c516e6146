//! Turns of HTTP/2 connections: one that opens many streams at once does not have others wait for all of them.

use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::timeout;

use crate::frames::{HEADERS, RawClient, get};
use crate::support::{PATIENT, run_on_one_thread, start_holding};

const LONG: Duration = Duration::from_secs(20);

const STREAMS: u64 = 128;

/// The requests that open all streams of a connection.
fn requests() -> Vec<u8> {
    let streams = (0..STREAMS as u32).map(|number| 2 * number + 1);
    streams.flat_map(|stream| get(stream, "/")).collect()
}

#[test]
fn streams_that_are_opened_at_once_begin_in_turns_of_their_connection() {
    run_on_one_thread(async {
        let running = start_holding("hello", PATIENT, 16, 64 << 20).await;
        let mut client = RawClient::connect(running.address).await;
        client.send(&requests()).await;
        let server = running.server.clone();
        let bystander = tokio::spawn(async move {
            let (mut before, mut most) = (0, 0);
            while before < STREAMS {
                let now = server.requests();
                most = most.max(now - before);
                before = now;
                yield_now().await;
            }
            most
        });
        let most = timeout(LONG, bystander).await.unwrap().unwrap();
        // A task that yields has its turn when tokio looks at the sockets, after 61 polls of tasks at most. Each stream
        // takes two: its own, and one of its connection.
        assert!(most <= 61 / 2 + 8, "{most} requests in one turn");
        for _ in 0..STREAMS {
            let answer = client.find("response", |frame| frame.kind == HEADERS).await;
            assert!(answer.is_200(), "{answer:?}");
        }
    });
}

#[test]
fn a_request_does_not_wait_for_all_streams_that_another_connection_has_opened_before() {
    run_on_one_thread(async {
        let running = start_holding("hello", PATIENT, 16, 64 << 20).await;
        let mut greedy = RawClient::connect(running.address).await;
        let mut other = RawClient::connect(running.address).await;
        greedy.send(&requests()).await;
        other.send(&get(1, "/")).await;
        let answer = other.find("response", |frame| frame.kind == HEADERS).await;
        assert!(answer.is_200(), "{answer:?}");
        // Before this client has its response, some more tasks are polled.
        let begun = running.server.requests();
        assert!(begun < STREAMS * 3 / 4, "{begun} requests have begun");
        for _ in 0..STREAMS {
            let answer = greedy.find("response", |frame| frame.kind == HEADERS).await;
            assert!(answer.is_200(), "{answer:?}");
        }
    });
}
