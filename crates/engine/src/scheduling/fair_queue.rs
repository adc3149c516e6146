//! Whose guest computes next in the background. Turns are granted to applications, by the processor time
//! that each has had for its weight, so that an application with a hundred busy guests gets no more than
//! one with a single one. How long a turn takes is the epoch ticker's business.
//!
//! This is start-time fair queueing (Goyal, Vin and Cheng, 1996): each application has a virtual time,
//! which advances by what its guests compute, divided by its weight. The least goes first. One that comes
//! back after a pause starts at the time of the others, so that nothing can be saved up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// What a turn is expected to take, which counts from its beginning.
const EXPECTED: u64 = 1_000_000;

/// How much of a second guests of an application may compute on the threads that serve, in turns that are
/// not small, and still begin there: one part in so many.
const SERVING_PART: u32 = 50;

/// How much of it at once.
const SERVING_BURST: Duration = Duration::from_millis(50);

/// How long an application's guests compute in the background after that.
const HEAVY_FOR: Duration = Duration::from_secs(1);

/// The same where the application goes on in this way: twice as long each time, up to this. Others on its
/// threads meet each of its bursts.
const HEAVY_FOR_LONGEST: Duration = Duration::from_secs(16);

/// The background's threads, and the guests that want to compute there.
#[derive(Debug)]
pub(crate) struct Turns {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Threads that nobody computes on.
    free: usize,
    /// The virtual time at which the last turn began.
    now: u64,
    /// Guests that wait, by the virtual time and the number of their application.
    waiting: BTreeMap<(u64, u64), Queue>,
}

#[derive(Debug)]
struct Queue {
    application: Arc<CpuShare>,
    guests: VecDeque<Arc<Guest>>,
}

/// What an application has had of the processor.
#[derive(Debug)]
pub(crate) struct CpuShare {
    number: u64,
    weight: u64,
    /// Its virtual time. Changed under the lock of [`Turns`] alone.
    time: AtomicU64,
    serving: Mutex<Serving>,
    /// Until when its guests compute in the background, in nanoseconds after `made`; 0 is never.
    heavy_until: AtomicU64,
    made: Instant,
}

/// What its guests have computed on threads that serve, in turns that are not small: a bucket that leaks.
#[derive(Debug)]
struct Serving {
    level: Duration,
    at: Instant,
    /// For how long it was heavy when it last began to be, and until when.
    heavy_for: Duration,
    heavy_until: Option<Instant>,
}

/// A guest in the background.
#[derive(Debug)]
struct Guest {
    state: Mutex<Waiting>,
}

#[derive(Debug)]
enum Waiting {
    /// It wants nothing.
    No,
    For(Waker),
    Granted,
}

/// A guest's place among those that compute in the background. Dropping it gives its turn back.
#[derive(Debug)]
pub(crate) struct TurnTaker {
    turns: Arc<Turns>,
    application: Arc<CpuShare>,
    guest: Arc<Guest>,
}

impl Turns {
    /// For so many threads.
    pub(crate) fn new(threads: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                free: threads.max(1),
                now: 0,
                waiting: BTreeMap::new(),
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A turn is over: the next one begins.
    fn finish(&self, application: &CpuShare, took: Duration) {
        let mut state = self.lock();
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        state.advance(application, |time| {
            let expected = application.virtual_time(EXPECTED);
            (time.saturating_sub(expected)).saturating_add(application.virtual_time(took))
        });
        state.free += 1;
        let next = state.grant();
        drop(state);
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

impl State {
    /// Changes the virtual time of an application, and its place among those that wait.
    fn advance(&mut self, application: &CpuShare, change: impl FnOnce(u64) -> u64) {
        let before = application.time.load(Ordering::Relaxed);
        let after = change(before);
        if before == after {
            return;
        }
        application.time.store(after, Ordering::Relaxed);
        if let Some(queue) = self.waiting.remove(&(before, application.number)) {
            self.waiting.insert((after, application.number), queue);
        }
    }

    /// Begins a turn of this application.
    fn begin(&mut self, application: &CpuShare) {
        self.free -= 1;
        let now = application.time.load(Ordering::Relaxed);
        self.now = self.now.max(now);
        self.advance(application, |time| {
            time.saturating_add(application.virtual_time(EXPECTED))
        });
    }

    /// Gives a thread that is free to the guest that is next.
    fn grant(&mut self) -> Option<Waker> {
        while self.free > 0 {
            let mut first = self.waiting.first_entry()?;
            let application = Arc::clone(&first.get().application);
            let guest = first.get_mut().guests.pop_front();
            if first.get().guests.is_empty() {
                first.remove();
            }
            let Some(guest) = guest else { continue };
            let mut waiting = guest.lock();
            if let Waiting::For(_) = &*waiting
                && let Waiting::For(waker) = std::mem::replace(&mut *waiting, Waiting::Granted)
            {
                self.begin(&application);
                return Some(waker);
            }
        }
        None
    }

    /// Adds a guest to those that wait.
    fn wait(&mut self, application: &Arc<CpuShare>, guest: &Arc<Guest>) {
        let key = |time| (time, application.number);
        let time = application.time.load(Ordering::Relaxed);
        if let Some(queue) = self.waiting.get_mut(&key(time)) {
            queue.guests.push_back(Arc::clone(guest));
            return;
        }
        // What it did not use while it had nothing to do is gone.
        let time = time.max(self.now);
        application.time.store(time, Ordering::Relaxed);
        self.waiting.insert(
            key(time),
            Queue {
                application: Arc::clone(application),
                guests: VecDeque::from([Arc::clone(guest)]),
            },
        );
    }

    fn forget(&mut self, application: &CpuShare, guest: &Arc<Guest>) {
        let key = (application.time.load(Ordering::Relaxed), application.number);
        if let Some(queue) = self.waiting.get_mut(&key) {
            queue.guests.retain(|it| !Arc::ptr_eq(it, guest));
            if queue.guests.is_empty() {
                self.waiting.remove(&key);
            }
        }
    }
}

impl CpuShare {
    pub(crate) fn new(number: u64, weight: u64) -> Arc<Self> {
        let made = Instant::now();
        Arc::new(Self {
            number,
            weight: weight.max(1),
            time: AtomicU64::new(0),
            serving: Mutex::new(Serving {
                level: Duration::ZERO,
                at: made,
                heavy_for: HEAVY_FOR,
                heavy_until: None,
            }),
            heavy_until: AtomicU64::new(0),
            made,
        })
    }

    fn virtual_time(&self, nanoseconds: u64) -> u64 {
        nanoseconds / self.weight
    }

    /// Tells applications apart.
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
        let mut serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        let leaked = now.saturating_duration_since(serving.at) / SERVING_PART;
        serving.at = now;
        serving.level = serving.level.saturating_sub(leaked) + took;
        // So that it is over soon after the load is.
        serving.level = serving.level.min(2 * SERVING_BURST);
        if serving.level > SERVING_BURST {
            let until = serving
                .begin_heavy(now)
                .saturating_duration_since(self.made);
            let until = u64::try_from(until.as_nanos()).unwrap_or(u64::MAX);
            self.heavy_until.store(until, Ordering::Relaxed);
        }
    }

    /// Whether its guests are to compute in the background, since they have lately computed for long on the
    /// whole, each for however short.
    pub(crate) fn is_heavy(&self) -> bool {
        self.heavy_until.load(Ordering::Relaxed) != 0 && self.is_heavy_at(Instant::now())
    }

    fn is_heavy_at(&self, now: Instant) -> bool {
        let until = Duration::from_nanos(self.heavy_until.load(Ordering::Relaxed));
        let is_heavy = now.saturating_duration_since(self.made) < until;
        if !is_heavy {
            // The clock need not be asked again.
            self.heavy_until.store(0, Ordering::Relaxed);
        }
        is_heavy
    }
}

impl Serving {
    /// Its application computes too much. Returns until when it counts as heavy.
    fn begin_heavy(&mut self, now: Instant) -> Instant {
        let heavy_for = match self.heavy_until {
            // It is.
            Some(until) if now < until => self.heavy_for,
            // It has only paused.
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

impl Guest {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing is left half done under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TurnTaker {
    pub(crate) fn new(turns: Arc<Turns>, application: Arc<CpuShare>) -> Self {
        Self {
            turns,
            application,
            guest: Arc::new(Guest {
                state: Mutex::new(Waiting::No),
            }),
        }
    }

    /// Waits until it is the guest's turn. Once it is, [`finish`](Self::finish) is to be called.
    pub(crate) fn poll_begin(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.turns.lock();
        let mut guest = self.guest.lock();
        match &mut *guest {
            Waiting::Granted => return Poll::Ready(()),
            Waiting::For(waker) => {
                waker.clone_from(cx.waker());
                return Poll::Pending;
            }
            Waiting::No => {}
        }
        // Whoever waits goes first, if there is a free thread at all.
        if state.free > 0 && state.waiting.is_empty() {
            let time = self.application.time.load(Ordering::Relaxed);
            let time = time.max(state.now);
            self.application.time.store(time, Ordering::Relaxed);
            state.begin(&self.application);
            *guest = Waiting::Granted;
            return Poll::Ready(());
        }
        *guest = Waiting::For(cx.waker().clone());
        drop(guest);
        state.wait(&self.application, &self.guest);
        Poll::Pending
    }

    /// The turn is over, and took so long.
    pub(crate) fn finish(&self, took: Duration) {
        *self.guest.lock() = Waiting::No;
        self.turns.finish(&self.application, took);
    }
}

impl Drop for TurnTaker {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        let was = std::mem::replace(&mut *self.guest.lock(), Waiting::No);
        match was {
            Waiting::No => {}
            Waiting::For(_) => state.forget(&self.application, &self.guest),
            Waiting::Granted => {
                drop(state);
                self.turns.finish(&self.application, Duration::ZERO);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: Duration = Duration::from_millis(1);

    /// Lets all guests compute for so many turns in all, on one thread, and counts those of each.
    fn compete(turns: &Arc<Turns>, applications: &[(u64, usize)], rounds: usize) -> Vec<usize> {
        let mut guests = Vec::new();
        for (index, &(weight, count)) in applications.iter().enumerate() {
            let share = CpuShare::new(index as u64, weight);
            for _ in 0..count {
                guests.push((index, TurnTaker::new(Arc::clone(turns), Arc::clone(&share))));
            }
        }
        let mut counts = vec![0; applications.len()];
        let mut cx = Context::from_waker(Waker::noop());
        let mut total = 0;
        while total < rounds {
            for (index, guest) in &guests {
                if guest.poll_begin(&mut cx).is_ready() {
                    counts[*index] += 1;
                    total += 1;
                    guest.finish(TURN);
                    // It wants to go on at once.
                    let _ = guest.poll_begin(&mut cx);
                }
            }
        }
        counts
    }

    #[test]
    fn an_application_with_many_busy_guests_gets_no_more_processor_time_than_one_with_a_single_one()
    {
        let counts = compete(&Turns::new(1), &[(1, 100), (1, 1)], 1000);
        assert!(counts[1] >= 450, "{counts:?}");
    }

    #[test]
    fn processor_time_goes_by_weight() {
        let counts = compete(&Turns::new(1), &[(3, 10), (1, 10)], 1000);
        assert!((700..=800).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn an_application_that_comes_late_has_saved_nothing_up() {
        let turns = Turns::new(1);
        let mut cx = Context::from_waker(Waker::noop());
        let early = TurnTaker::new(Arc::clone(&turns), CpuShare::new(1, 1));
        for _ in 0..1000 {
            assert!(early.poll_begin(&mut cx).is_ready());
            early.finish(TURN);
        }
        let counts = compete(&turns, &[(1, 1), (1, 1)], 10);
        assert!(counts.iter().all(|count| *count >= 4), "{counts:?}");
    }

    #[test]
    fn a_turn_that_is_dropped_goes_to_the_next() {
        let turns = Turns::new(1);
        let mut cx = Context::from_waker(Waker::noop());
        let share = |number| CpuShare::new(number, 1);
        let guests: Vec<_> = (0..3)
            .map(|number| TurnTaker::new(Arc::clone(&turns), share(number)))
            .collect();
        let polled: Vec<_> = guests.iter().map(|it| it.poll_begin(&mut cx)).collect();
        assert!(polled[0].is_ready() && polled[1].is_pending() && polled[2].is_pending());
        let mut guests = guests.into_iter();
        drop(guests.next());
        drop(guests.next());
        let last = guests.next().unwrap();
        assert!(last.poll_begin(&mut cx).is_ready());
        last.finish(TURN);
        let state = turns.lock();
        assert_eq!((state.free, state.waiting.len()), (1, 0));
    }

    #[test]
    fn many_short_computations_make_an_application_heavy_for_a_while() {
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
    fn an_application_that_goes_on_with_short_computations_is_heavy_for_longer_each_time() {
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
