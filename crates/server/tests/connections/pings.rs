//! Pings to clients of HTTP/2 that are silent.

use std::time::{Duration, Instant};

use server::Timeouts;

use crate::frames::{ACK, Frame, NO_ERROR, PING, RawClient, frame};
use crate::support::{PATIENT, run, start};

/// How long a client may be silent, and then how long it may take to answer.
const TIMEOUTS: Timeouts = Timeouts {
    header_read: Duration::from_millis(1500),
    send: Duration::from_millis(700),
    ..PATIENT
};

/// What the server's timers, or the clocks, may be early.
const EARLY: Duration = Duration::from_millis(50);

fn is_ping(frame: &Frame) -> bool {
    frame.kind == PING && frame.flags & ACK == 0
}

#[test]
fn a_silent_http2_connection_gets_a_ping_and_is_closed_without_an_answer() {
    run(async {
        let running = start("hello", TIMEOUTS, 16).await;
        let mut client = RawClient::connect(running.address).await;
        let mut heard = Instant::now();
        client.assert_served(1, "/").await;
        // It stays open for as long as the client answers.
        for _ in 0..3 {
            let ping = client.find("ping", is_ping).await;
            assert!(heard.elapsed() >= TIMEOUTS.header_read - EARLY);
            heard = Instant::now();
            client.send(&frame(PING, ACK, 0, &ping.payload)).await;
        }
        assert_eq!(running.server.connections().closed, 0);
        client.assert_served(3, "/").await;
        client.find("ping", is_ping).await;
        let asked = Instant::now();
        assert_eq!(client.goaway().await, (NO_ERROR, String::new()));
        assert!(client.next().await.is_none());
        assert!(asked.elapsed() >= TIMEOUTS.send - EARLY);
        assert!(asked.elapsed() < TIMEOUTS.send + Duration::from_secs(20));
    });
}
