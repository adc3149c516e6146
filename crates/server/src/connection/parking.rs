//! Parking of idle HTTP/1 connections: when one is parked. A parked connection, which waits for its next request for
//! longer than [`Timeouts::park_after`], costs little: hyper's state, some 20 KiB, is dropped, and created again for
//! the next request (in `http1`).

use std::time::Duration;

use tokio::time::Instant;

use crate::link::CHECK_INTERVAL;
use crate::timeouts::Timeouts;

/// How long a connection without requests keeps its buffers: never longer than it may be idle.
pub(super) fn park_after(timeouts: &Timeouts) -> Duration {
    timeouts.park_after.min(timeouts.idle)
}

/// Checks at intervals whether a connection has had a request, and since when it has been idle.
///
/// hyper may be dropped only when it has nothing left to write, and waits for the head of a request. That is so when
/// the bodies of all requests and responses are gone and no write is pending. Both are checked again after
/// `park_after`, so that hyper has been polled in between. A connection without any request yet is not parked:
/// parking would restart the time limit for its first head.
pub(super) struct IdleWatch {
    /// The connection's requests when the watch began.
    before: u64,
    /// The time limit for the first request since then.
    request_by: Instant,
    park_after: Duration,
    interval: Duration,
    /// The number of requests when it was first seen idle, and when that was.
    idle_since: Option<(u64, Instant)>,
    /// The time of the next check.
    pub(super) next: Instant,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum IdleCheck {
    /// The first request has not come in time.
    Late,
    /// There was none for `park_after`, nor is there one in progress.
    Idle,
    /// A request is in progress.
    Busy,
    Nothing,
}

impl IdleWatch {
    pub(super) fn new(
        requests: u64,
        timeouts: &Timeouts,
        request_by: Instant,
        now: Instant,
    ) -> Self {
        let park_after = park_after(timeouts);
        let interval = park_after.min(CHECK_INTERVAL);
        Self {
            before: requests,
            request_by,
            park_after,
            interval,
            idle_since: None,
            next: (now + interval).min(request_by),
        }
    }

    pub(super) fn check(&mut self, requests: u64, is_idle: bool, now: Instant) -> IdleCheck {
        self.next = now + self.interval;
        if requests == self.before {
            self.next = self.next.min(self.request_by);
            return if now >= self.request_by {
                IdleCheck::Late
            } else {
                IdleCheck::Nothing
            };
        }
        if !is_idle {
            self.idle_since = None;
            return IdleCheck::Busy;
        }
        match self.idle_since {
            Some((before, since)) if before == requests => {
                if now >= since + self.park_after {
                    return IdleCheck::Idle;
                }
            }
            Some(_) | None => self.idle_since = Some((requests, now)),
        }
        IdleCheck::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn watch() -> (IdleWatch, Instant) {
        let timeouts = Timeouts {
            park_after: SECOND,
            ..Timeouts::default()
        };
        let now = Instant::now();
        (IdleWatch::new(7, &timeouts, now + SECOND * 9 / 4, now), now)
    }

    #[test]
    fn a_connection_is_idle_when_it_had_no_request_since_it_was_seen_idle_long_enough_ago() {
        let (mut watch, now) = watch();
        let mut see =
            |requests, is_idle, tenths| watch.check(requests, is_idle, now + SECOND * tenths / 10);
        assert_eq!(see(8, false, 5), IdleCheck::Busy);
        assert_eq!(see(8, true, 10), IdleCheck::Nothing);
        assert_eq!(see(9, true, 20), IdleCheck::Nothing);
        assert_eq!(see(10, false, 25), IdleCheck::Busy);
        assert_eq!(see(10, true, 30), IdleCheck::Nothing);
        assert_eq!(see(10, true, 39), IdleCheck::Nothing);
        assert_eq!(see(10, true, 40), IdleCheck::Idle);
    }

    #[test]
    fn the_first_request_has_its_time_and_no_more() {
        let (mut watch, now) = watch();
        let mut looks = 0;
        let late = loop {
            let at = watch.next;
            looks += 1;
            match watch.check(7, true, at) {
                IdleCheck::Nothing => {}
                seen => break (seen, at),
            }
        };
        assert_eq!(late, (IdleCheck::Late, now + SECOND * 9 / 4));
        assert_eq!(looks, 5);
    }

    #[test]
    fn a_connection_with_a_request_is_checked_for_a_hang_up_within_a_second() {
        let (mut watch, now) = watch();
        assert!(watch.next < now + SECOND);
        let at = watch.next;
        assert_eq!(watch.check(8, false, at), IdleCheck::Busy);
        assert!(watch.next < at + SECOND);
    }
}
