//! What one application has had of the processor: its virtual time in the background's
//! [fair queue](crate::scheduling::fair_queue), and whether its guests have lately computed so much that they
//! belong there (a leaky bucket).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The rate of the leaky bucket: guests of an application may compute one part in so many of a thread's time on
/// the threads that serve, in turns that are not small.
const SERVING_PART: u32 = 50;

/// The size of the bucket.
const SERVING_BURST: Duration = Duration::from_millis(50);

/// How long guests of an application compute in the background after its bucket has overflowed.
const HEAVY_FOR: Duration = Duration::from_secs(1);

/// The upper bound of that time, which doubles each time that the bucket overflows again soon after its end: each
/// burst on the threads that serve delays other applications there.
const HEAVY_FOR_LONGEST: Duration = Duration::from_secs(16);

/// What an application has had of the processor.
#[derive(Debug)]
pub(crate) struct CpuShare {
    number: u64,
    weight: u64,
    /// Its virtual time. Changed only under the lock of the
    /// [fair queue](crate::scheduling::fair_queue::FairQueue).
    virtual_time: AtomicU64,
    serving: Mutex<ServingLoad>,
    /// Until when its guests compute in the background, in nanoseconds after `made`; 0 is never.
    heavy_until: AtomicU64,
    made: Instant,
}

/// What guests have computed on threads that serve, in turns that are not small: a leaky bucket.
#[derive(Debug)]
struct ServingLoad {
    level: Duration,
    at: Instant,
    /// The length of the last period in which the application was heavy.
    heavy_for: Duration,
    /// The end of that period.
    heavy_until: Option<Instant>,
}

impl CpuShare {
    pub(crate) fn new(number: u64, weight: u64) -> Arc<Self> {
        let made = Instant::now();
        Arc::new(Self {
            number,
            weight: weight.max(1),
            virtual_time: AtomicU64::new(0),
            serving: Mutex::new(ServingLoad {
                level: Duration::ZERO,
                at: made,
                heavy_for: HEAVY_FOR,
                heavy_until: None,
            }),
            heavy_until: AtomicU64::new(0),
            made,
        })
    }

    /// By how much so many nanoseconds of computing advance its virtual time.
    pub(super) fn virtual_nanoseconds(&self, nanoseconds: u64) -> u64 {
        nanoseconds / self.weight
    }

    pub(super) fn virtual_time(&self) -> u64 {
        self.virtual_time.load(Ordering::Relaxed)
    }

    /// Called under the lock of the fair queue.
    pub(super) fn set_virtual_time(&self, time: u64) {
        self.virtual_time.store(time, Ordering::Relaxed);
    }

    /// Unique among the applications of the process.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    /// A guest has computed for long on a thread that serves, in one turn or in several.
    pub(crate) fn charge(&self, took: Duration) {
        self.charge_at(took, Instant::now());
    }

    fn charge_at(&self, took: Duration, now: Instant) {
        let mut serving = self.serving.lock();
        let leaked = now.saturating_duration_since(serving.at) / SERVING_PART;
        serving.at = now;
        serving.level = serving.level.saturating_sub(leaked) + took;
        // So that the application is not heavy for long after its load has ended.
        serving.level = serving.level.min(2 * SERVING_BURST);
        if serving.level > SERVING_BURST {
            let until = serving
                .begin_heavy(now)
                .saturating_duration_since(self.made);
            let until = u64::try_from(until.as_nanos()).unwrap_or(u64::MAX);
            self.heavy_until.store(until, Ordering::Relaxed);
        }
    }

    /// Whether its guests are to compute in the background: together they have lately computed for long on the
    /// threads that serve, however short each of them.
    pub(crate) fn is_heavy(&self) -> bool {
        self.heavy_until.load(Ordering::Relaxed) != 0 && self.is_heavy_at(Instant::now())
    }

    fn is_heavy_at(&self, now: Instant) -> bool {
        let until = Duration::from_nanos(self.heavy_until.load(Ordering::Relaxed));
        let is_heavy = now.saturating_duration_since(self.made) < until;
        if !is_heavy {
            // So that the next calls need not read the clock.
            self.heavy_until.store(0, Ordering::Relaxed);
        }
        is_heavy
    }
}

impl ServingLoad {
    /// The bucket has overflowed. Returns until when the application counts as heavy.
    fn begin_heavy(&mut self, now: Instant) -> Instant {
        let heavy_for = match self.heavy_until {
            // It is heavy already.
            Some(until) if now < until => self.heavy_for,
            // It was, a moment ago.
            Some(until) if now < until + self.heavy_for => {
                (2 * self.heavy_for).min(HEAVY_FOR_LONGEST)
            }
            _ => HEAVY_FOR,
        };
        self.heavy_for = heavy_for;
        let until = now + heavy_for;
        self.heavy_until = Some(until);
        until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_short_computations_overflow_the_bucket_for_a_while() {
        let share = CpuShare::new(1, 1);
        let start = share.made;
        let turn = Duration::from_micros(4900);
        // One such request each second is no load.
        for second in 1..20 {
            share.charge_at(turn, start + Duration::from_secs(second));
            assert!(!share.is_heavy_at(start + Duration::from_secs(second)));
        }
        let flood = start + Duration::from_secs(20);
        for _ in 0..12 {
            share.charge_at(turn, flood);
        }
        assert!(share.is_heavy_at(flood));
        assert!(!share.is_heavy_at(flood + HEAVY_FOR));
    }

    #[test]
    fn an_application_whose_bucket_overflows_again_is_heavy_for_twice_as_long() {
        let share = CpuShare::new(1, 1);
        let mut now = share.made + Duration::from_secs(1);
        let flood = |now| (0..30).for_each(|_| share.charge_at(Duration::from_micros(4900), now));
        for seconds in [1, 2, 4, 8, 16, 16] {
            flood(now);
            let heavy_for = Duration::from_secs(seconds);
            assert!(share.is_heavy_at(now + heavy_for - Duration::from_millis(1)));
            now += heavy_for;
            assert!(!share.is_heavy_at(now), "{seconds}");
        }
        now += HEAVY_FOR_LONGEST;
        flood(now);
        assert!(!share.is_heavy_at(now + HEAVY_FOR));
    }
}
