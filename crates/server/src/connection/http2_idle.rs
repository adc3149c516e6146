//! The idle timeout of HTTP/2 connections. HTTP/1 connections have theirs in `parking`.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::link::ConnectionState;

/// Waits until the connection has not had a request by `first_by`, or has then been without one for
/// `limit`.
pub(crate) async fn expired(link: &ConnectionState, limit: Duration, first_by: Instant) {
    let notice = link.idle_notice().subscribe();
    let mut idle_since = Instant::now();
    let mut timer = pin!(sleep_until(first_by.min(idle_since + limit)));
    loop {
        tokio::select! {
            biased;
            // Only noted, so that the timer is not reset for each request.
            () = notice.notified() => idle_since = Instant::now(),
            () = timer.as_mut() => {
                let now = Instant::now();
                let until = if link.requests() == 0 {
                    first_by
                } else if link.is_idle() {
                    idle_since + limit
                } else {
                    // It cannot become idle before now, nor expire before this.
                    now + limit
                };
                if until <= now {
                    return;
                }
                timer.as_mut().reset(until);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_expires_when_its_first_one_is_due() {
        let begun = Instant::now();
        let link = ConnectionState::default();
        expired(&link, SECOND * 10, begun + SECOND * 3).await;
        assert_eq!(begun.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_idle_timeout_counts_from_the_end_of_the_last_request() {
        let begun = Instant::now();
        let link = ConnectionState::default();
        let request = link.begin();
        let requests = async {
            sleep(SECOND * 25).await;
            drop(request);
        };
        tokio::join!(expired(&link, SECOND * 10, begun + SECOND * 3), requests);
        assert_eq!(begun.elapsed().as_secs(), 35);
    }
}
