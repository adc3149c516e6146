//! Checks at intervals the connections that hold something for their clients, and ends those whose clients accept
//! too little.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use unit_log::LogInterval;

use super::count::{ConnectionHeld, GENERATIONS, HeldTotal, Swept, Verdict};
use super::stream::STREAM_PIECE;

/// The longest time between two sweeps; less if `Timeouts::send` is below 8 s.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// The time between two sweeps while more than half of the limit is held.
const SHORT_SWEEP_INTERVAL: Duration = Duration::from_millis(100);

/// Generations that make up the time for which a client may take nothing of a finished stream.
const PATIENT_GENERATIONS: usize = 4;

/// A connection of which less than [`SHARE`] has been accepted for this long may be ended, if others need the
/// memory.
const EVICT_AFTER: Duration = Duration::from_secs(1);
const SHARE: u64 = 64;

/// Standing still for longer than this does not make a connection more likely to be ended.
const LONGEST_STANDSTILL: Duration = Duration::from_secs(10);

/// The log says at most this often that connections were ended for their memory.
const EVICTION_WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// A connection that holds something for its client.
struct Holding {
    connection: Arc<ConnectionHeld>,
    bytes: u64,
    stands_still: Duration,
}

/// Sweeps until `server` returns `None`: the server is gone. It returns what is held, and for how long a client
/// may take nothing.
pub(crate) async fn sweep_while_alive(server: impl Fn() -> Option<(Arc<HeldTotal>, Duration)>) {
    let mut ended = Ended::new();
    while let Some((held, send)) = server() {
        ended.count(held.sweep(Instant::now()), &held);
        let interval = held.interval(send);
        tokio::select! {
            () = sleep(interval) => {}
            () = held.exceeded.notified() => {}
        }
    }
}

impl HeldTotal {
    fn interval(&self, send: Duration) -> Duration {
        let interval = (send / 8).clamp(Duration::from_millis(10), SWEEP_INTERVAL);
        if self.bytes() > self.limit / 2 {
            interval.min(SHORT_SWEEP_INTERVAL)
        } else {
            interval
        }
    }

    /// Returns how many connections are to be ended for their memory.
    fn sweep(&self, now: Instant) -> usize {
        let mut all = Vec::new();
        for shard in &self.shards {
            // Not under the lock, which responses take.
            let mut holding = mem::take(&mut *shard.holding.lock());
            holding.retain(|connection| match connection.look(now) {
                None => !connection.unlist(),
                Some(stands_still) => {
                    all.push(Holding {
                        connection: Arc::clone(connection),
                        bytes: connection.memory(),
                        stands_still,
                    });
                    true
                }
            });
            shard.holding.lock().append(&mut holding);
        }
        let bytes = self.bytes();
        self.is_exceeded.store(bytes > self.limit, Relaxed);
        if bytes > self.limit {
            self.evict(all, bytes)
        } else {
            0
        }
    }

    /// Ends connections until less than seven eighths of the limit are held. First come those that have held much,
    /// and for long. If more than five quarters of the limit are held even then, the others follow.
    fn evict(&self, mut all: Vec<Holding>, bytes: u64) -> usize {
        let weight = |it: &Holding| {
            let stands_still = it.stands_still.min(LONGEST_STANDSTILL) + EVICT_AFTER;
            stands_still.as_millis().saturating_mul(it.bytes.into())
        };
        all.sort_by_key(|it| std::cmp::Reverse(weight(it)));
        let (stuck, others): (Vec<_>, Vec<_>) =
            (all.into_iter()).partition(|it| it.stands_still >= EVICT_AFTER);
        let mut left = bytes;
        let mut ended = 0;
        for (them, above) in [
            (stuck, self.limit),
            (others, self.limit.saturating_add(self.limit / 4)),
        ] {
            if left <= above {
                break;
            }
            for it in them {
                if left <= self.limit / 8 * 7 {
                    break;
                }
                left = left.saturating_sub(it.bytes);
                ended += usize::from(it.connection.condemn(Verdict::Evicted));
            }
        }
        ended
    }
}

impl ConnectionHeld {
    /// Returns for how long the client has accepted too little of what is held; `None` if nothing is held.
    fn look(&self, now: Instant) -> Option<Duration> {
        let bytes = self.memory();
        let written = self.written.load(Relaxed);
        let mut swept = self.swept.lock();
        if bytes == 0 {
            *swept = None;
            return None;
        }
        let swept = swept.get_or_insert_with(|| Swept {
            generation: (now, written),
            moved: (now, written),
        });
        // Where there is nothing but streams, their requests are still in progress: the client has nothing to take.
        let has_responses = self.bytes.load(Relaxed) > 0;
        if !has_responses || written.wrapping_sub(swept.moved.1) > bytes / SHARE {
            swept.moved = (now, written);
        }
        let generation = self.send / PATIENT_GENERATIONS as u32;
        if now.duration_since(swept.generation.0) >= generation {
            let moved = written.wrapping_sub(swept.generation.1);
            swept.generation = (now, written);
            // A slow network serves one stream after the other. While bytes that wait for the socket make progress,
            // no stream's window is to blame.
            let is_slow_network =
                self.link.is_stalled() && moved >= (STREAM_PIECE / PATIENT_GENERATIONS) as u64;
            if !is_slow_network && self.next_generation() {
                self.condemn(Verdict::Stalled);
            }
        }
        Some(now.duration_since(swept.moved.0))
    }

    /// Begins the next generation. Returns whether there is something of a stream that finished
    /// [`PATIENT_GENERATIONS`] ago.
    fn next_generation(&self) -> bool {
        let present = usize::from(self.generation.load(Relaxed));
        let oldest = (present + GENERATIONS - PATIENT_GENERATIONS) % GENERATIONS;
        // There are few.
        let next = (present + 1) % GENERATIONS;
        self.generation.store(next as u8, Relaxed);
        self.finished[oldest].load(Relaxed) > 0
    }

    /// Takes a connection that holds nothing off the list. Returns whether that is so.
    fn unlist(&self) -> bool {
        self.is_listed.store(false, SeqCst);
        if self.memory() == 0 {
            return true;
        }
        // It has begun to hold something: the first to see that has listed it.
        self.is_listed.swap(true, SeqCst)
    }
}

/// Connections that were ended for their memory and that the log has not named yet.
struct Ended {
    count: usize,
    warning: LogInterval,
}

impl Ended {
    fn new() -> Self {
        Self {
            count: 0,
            warning: LogInterval::new(EVICTION_WARNING_INTERVAL),
        }
    }

    fn count(&mut self, more: usize, held: &HeldTotal) {
        self.count += more;
        if self.count > 0 && self.warning.is_due() {
            tracing::warn!(
                "more than {} bytes of responses wait for clients that do not read them; \
                 resetting the {} connections that read the least",
                held.limit,
                mem::take(&mut self.count),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use bytes::{Buf as _, Bytes};

    use super::*;
    use crate::counters::WorkerId;
    use crate::held::count::{STREAM_COST, STREAMS_PER_CHECK};
    use crate::held::{Piece, StreamState};
    use crate::link::ConnectionState;

    const SEND: Duration = Duration::from_secs(30);

    fn total(limit: u64) -> Arc<HeldTotal> {
        Arc::new(HeldTotal::new(2, limit))
    }

    fn connect(total: &Arc<HeldTotal>, worker: usize) -> Arc<ConnectionHeld> {
        ConnectionHeld::new(
            Arc::clone(total),
            WorkerId(worker),
            ConnectionState::default(),
            SEND,
        )
    }

    fn piece(connection: &Arc<ConnectionHeld>, length: usize) -> (StreamState, Piece) {
        let stream = StreamState::new(Arc::clone(connection));
        let piece = Piece::whole(Bytes::from(vec![0; length]), &stream);
        (stream, piece)
    }

    fn verdict(connection: &ConnectionHeld) -> u8 {
        connection.verdict.load(SeqCst)
    }

    #[test]
    fn a_finished_stream_whose_data_stays_unwritten_stalls_its_connection() {
        let total = total(1 << 30);
        let (stuck, fine) = (connect(&total, 0), connect(&total, 1));
        let (stream, _piece) = piece(&stuck, 1000);
        stream.finish();
        let begun = Instant::now();
        let mut stalled_after = None;
        for second in 0..120 {
            // Others come and go, which is no excuse.
            let (stream, mut written) = piece(&stuck, 100_000);
            stream.finish();
            written.advance(100_000);
            let (stream, _unfinished) = piece(&fine, 10);
            total.sweep(begun + Duration::from_secs(second));
            drop(stream);
            if verdict(&stuck) > 0 {
                stalled_after = stalled_after.or(Some(second));
            }
        }
        assert_eq!(verdict(&stuck), Verdict::Stalled as u8);
        let after = stalled_after.unwrap();
        assert!((30..=40).contains(&after), "{after} s");
        assert_eq!(verdict(&fine), 0);
    }

    #[test]
    fn held_bytes_are_counted_until_they_are_written_or_discarded() {
        let total = total(1 << 30);
        let connection = connect(&total, 1);
        let (stream, mut written) = piece(&connection, 100);
        let (other, discarded) = piece(&connection, 50);
        assert_eq!(total.response_bytes(), 150);
        written.advance(99);
        stream.finish();
        // The buffer is in memory as a whole.
        assert_eq!(total.response_bytes(), 150);
        drop(written);
        assert_eq!(total.response_bytes(), 50);
        drop(discarded);
        assert_eq!(total.response_bytes(), 0);
        assert!(connection.finished.iter().all(|it| it.load(Relaxed) == 0));
        drop((stream, other));
        // What holds nothing is not looked at.
        total.sweep(Instant::now());
        assert!(total.shards[1].holding.lock().is_empty());
    }

    #[test]
    fn streams_count_until_nothing_of_them_is_left() {
        let total = total(1 << 30);
        let connection = connect(&total, 0);
        let streams: Vec<_> = (0..100).map(|_| piece(&connection, 10)).collect();
        assert_eq!(total.bytes(), 100 * (STREAM_COST + 10));
        let (streams, pieces): (Vec<_>, Vec<_>) = streams.into_iter().unzip();
        drop(streams);
        // h2 has something of each.
        assert_eq!(total.bytes(), 100 * (STREAM_COST + 10));
        drop(pieces);
        assert_eq!(total.bytes(), 0);
        let waiting = StreamState::new(Arc::clone(&connection));
        total.sweep(Instant::now());
        assert_eq!(total.shards[0].holding.lock().len(), 1);
        drop(waiting);
        total.sweep(Instant::now());
        assert!(total.shards[0].holding.lock().is_empty());
    }

    #[tokio::test]
    async fn more_than_the_limit_is_noticed_between_two_sweeps() {
        const LIMIT: u64 = 64 << 20;

        let total = total(LIMIT);
        let connections: Vec<_> = (0..100).map(|it| connect(&total, it % 2)).collect();
        total.sweep(Instant::now());
        let mut held = Vec::new();
        while !total.is_exceeded.load(Relaxed) {
            held.extend(connections.iter().map(|it| piece(it, 60_000)));
            assert!(total.bytes() < LIMIT * 5 / 4, "{}", total.bytes());
        }
        assert!(connections.iter().all(|it| it.is_full()));
        // The next sweep is due.
        let due = total.exceeded.notified();
        assert!(tokio::time::timeout(SEND, due).await.is_ok());
        drop(held);
        let streams = LIMIT / STREAM_COST + 2 * STREAMS_PER_CHECK;
        total.sweep(Instant::now());
        assert!(!total.is_exceeded.load(Relaxed));
        let _streams: Vec<_> = (0..streams)
            .map(|it| StreamState::new(Arc::clone(&connections[it as usize % 100])))
            .collect();
        assert!(total.is_exceeded.load(Relaxed));
    }

    #[test]
    fn connections_with_requests_in_progress_for_long_are_not_reset_for_those_that_take_nothing() {
        let total = total(100_000);
        let patient: Vec<_> = (0..10).map(|it| connect(&total, it % 2)).collect();
        let _requests: Vec<_> = (patient.iter())
            .map(|it| StreamState::new(Arc::clone(it)))
            .collect();
        let begun = Instant::now();
        let hour = Duration::from_secs(3600);
        total.sweep(begun);
        total.sweep(begun + hour);
        let greedy = connect(&total, 0);
        let _held = piece(&greedy, 90_000);
        total.sweep(begun + hour);
        total.sweep(begun + hour + EVICT_AFTER);
        assert_eq!(verdict(&greedy), Verdict::Evicted as u8);
        assert!(patient.iter().all(|it| verdict(it) == 0));
    }

    #[test]
    fn connections_that_hold_much_and_take_little_are_reset_when_memory_is_short() {
        let total = total(20_000);
        let connections: Vec<_> = (0..4).map(|it| connect(&total, it % 2)).collect();
        // Each has a stream beside.
        let lengths = [6000, 3000, 100, 2000];
        let mut held: Vec<_> = (connections.iter().zip(lengths))
            .map(|(connection, length)| piece(connection, length))
            .collect();
        let begun = Instant::now();
        total.sweep(begun);
        assert!(total.is_exceeded.load(Relaxed));
        // The last one gets on.
        connections[3].note_write(&Poll::Ready(Ok(1500)));
        let ended = total.sweep(begun + Duration::from_secs(2));
        let verdicts: Vec<_> = connections.iter().map(|it| verdict(it)).collect();
        assert_eq!((ended, verdicts), (1, vec![2, 0, 0, 0]));
        held.remove(0);
        assert_eq!(total.sweep(begun + Duration::from_secs(3)), 0);
        assert!(!total.is_exceeded.load(Relaxed));
        assert_eq!(total.figures().ended_connections, 1);
    }
}
