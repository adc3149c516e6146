//! Clients of HTTP/2 that reset streams as soon as their requests have begun.

use crate::frames::{ENHANCE_YOUR_CALM, RST_STREAM, RawClient, get, reset, stream_id};
use crate::support::{PATIENT, Running, run, run_on_one_thread, start_holding, until};

const STREAMS: u32 = 128;

async fn start(guest: &str) -> Running {
    // 256 instances, which are twice as many as a connection has streams.
    start_holding(guest, PATIENT, 64, 1 << 30).await
}

fn requests(numbers: std::ops::Range<u32>) -> Vec<u8> {
    numbers
        .flat_map(|it| get(stream_id(it), "/?60000"))
        .collect()
}

/// Requests that are reset right away, in one piece.
fn resets(numbers: std::ops::Range<u32>) -> Vec<u8> {
    let request = |number| [get(stream_id(number), "/"), reset(stream_id(number))].concat();
    numbers.flat_map(request).collect()
}

/// The server reads what comes with one write as a whole before it looks at a request.
#[test]
fn rapid_resets_of_20_requests_in_one_go_are_taken_and_of_21_end_the_connection() {
    run(async {
        let running = start("hello").await;
        let mut client = RawClient::connect(running.address).await;
        for burst in 0..5 {
            let first = burst * 100;
            client.send(&resets(first..first + 20)).await;
            // Those before this one have been looked at when it is answered.
            client.assert_served(stream_id(first + 20), "/").await;
        }
        client.send(&resets(1000..1021)).await;
        let calm = (ENHANCE_YOUR_CALM, "too_many_resets".to_owned());
        assert_eq!(client.goaway().await, calm);
    });
}

#[test]
fn a_stream_that_is_reset_makes_room_for_another_and_its_request_is_cancelled() {
    run(async {
        let running = start("sleep").await;
        let mut client = RawClient::connect(running.address).await;
        client.send(&requests(0..STREAMS)).await;
        let active = || running.application.active();
        until("all are at work", || active() == 128).await;
        // In one go, so that no request can have been cancelled before the next is there.
        for (first, last, next) in [(0, 1, STREAMS), (1, STREAMS, STREAMS + 1)] {
            let mut bytes: Vec<u8> = (first..last).flat_map(|it| reset(stream_id(it))).collect();
            bytes.extend(requests(next..next + (last - first)));
            client.send(&bytes).await;
            let frames = client.round_trips().await;
            let refusals = frames.iter().filter(|frame| frame.kind == RST_STREAM);
            assert_eq!(refusals.count(), 0);
            let begun = u64::from(next + (last - first));
            let started = || running.application.stats().instances_started;
            until("the next are begun", || started() == begun).await;
            until("the others are cancelled", || active() == 128).await;
        }
    });
}

/// Each makes room for another: without a limit they would pile up, as long as the client sends.
#[test]
fn streams_that_are_reset_before_their_turn_are_limited() {
    run_on_one_thread(async {
        let running = start("sleep").await;
        let mut client = RawClient::connect(running.address).await;
        for round in 0..20 {
            let (first, next) = (round * STREAMS, (round + 1) * STREAMS);
            let last_round = first.saturating_sub(STREAMS)..first;
            let mut bytes: Vec<u8> = last_round.flat_map(|it| reset(stream_id(it))).collect();
            bytes.extend(requests(first..next));
            client.send(&bytes).await;
            client.round_trips().await;
            let waiting = u64::from(next) - running.server.requests();
            assert!(waiting <= u64::from(STREAMS), "{waiting} in round {round}");
        }
        let begun = || running.server.requests();
        until("all have begun", || begun() == u64::from(20 * STREAMS)).await;
        until("all but the last are cancelled", || {
            running.application.active() == 128
        })
        .await;
    });
}

#[test]
fn rapid_resets_leave_no_request_behind_and_time_for_others() {
    run(async {
        let running = start("sleep").await;
        let address = running.address;
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(tokio::spawn(async move {
                let mut client = RawClient::connect(address).await;
                for number in 0..1000 {
                    let id = stream_id(number);
                    // Each in a write of its own, and with a round trip now and then, so that the server looks at
                    // many of the requests before it reads that they are over.
                    client.send(&get(id, "/?60000")).await;
                    if number % 10 == 0 {
                        client.round_trips().await;
                    }
                    client.send(&reset(id)).await;
                    if number % 10 == 5 {
                        client.round_trips().await;
                    }
                }
                client
            }));
        }
        let mut other = RawClient::connect(address).await;
        for number in 0..50 {
            other.assert_served(stream_id(number), "/?1").await;
        }
        let mut open = Vec::new();
        for client in clients {
            open.push(client.await.unwrap());
        }
        let active = || running.application.active();
        until("all are cancelled", || active() == 0).await;
        let started = running.application.stats().instances_started;
        assert!(
            started > 400,
            "{started}: the resets came before the requests"
        );
        for mut client in open {
            client.assert_served(stream_id(5000), "/?1").await;
        }
    });
}
