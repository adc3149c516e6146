//! Whose guest computes next on a thread that serves, when several applications want more of it than there
//! is. In the background it is [`turns`](crate::scheduling::fair_queue).
//!
//! A thread polls its tasks in the order in which they are woken up. So a request would wait for all that
//! are there before it, and one application may have hundreds there. Where a thread is busy, and serves
//! several applications, each may compute for a quantum in a round; what goes beyond waits for the next round
//! outside of the thread's queue of tasks, in the order in which it came. A round is over when each task
//! that was ready has been polled, and the sockets have been looked at. So a request of an application that
//! does not flood the thread waits for a quantum or two of one that does.
//!
//! This is deficit round robin (Shreedhar and Varghese, 1996): what a turn takes beyond the quantum is
//! taken from the next ones, and what is left of it is gone. Nobody waits where there is nothing else to do.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, Id, RuntimeFlavor};

use crate::scheduling::fair_queue::CpuShare;
use crate::scheduling::stopwatch::Stopwatch;

/// What the guests of an application may compute in a round, in nanoseconds: some small requests. Of several
/// applications, that one that has the greatest weight.
const QUANTUM: i64 = 250_000;

/// What a turn takes of its thread beside what the guest computes, in nanoseconds: HTTP and the socket.
const PER_TURN: i64 = 15_000;

/// The most that is taken from the next rounds.
const MOST_DEBT: i64 = 20 * QUANTUM;

/// What a turn is expected to take before any is known, in nanoseconds.
const EXPECTED: i64 = 50_000;

/// Guests have to take one part in so many of a thread's time for it to be busy.
const BUSY_PART: i64 = 3;

/// How long an application is remembered that has computed on a thread.
const SEEN_FOR: Duration = Duration::from_secs(10);

/// How often a guest may be polled in its turn: what it writes is read in between, so that a small response
/// is whole when its head goes out.
const POLLS: u8 = 5;

/// No application has this number.
const NONE: u64 = u64::MAX;

thread_local! {
    static THREAD: ServingThread = const { ServingThread::new() };
}

/// A guest's place among those that compute on a thread that serves. Dropping it gives it up.
#[derive(Debug, Default)]
pub(crate) struct ServingTurn {
    /// Where it waits for the next round.
    place: Option<Arc<RoundPlace>>,
    /// What has been taken for it in advance.
    prepaid: i64,
    /// The round in which it has last had a turn, and how often it was polled since.
    round: u64,
    polls: u8,
}

impl ServingTurn {
    /// Waits until the guest may compute. Once it has, [`finish`](Self::finish) is to be called.
    pub(crate) fn poll_begin(&mut self, application: &CpuShare, cx: &mut Context<'_>) -> Poll<()> {
        let begun = THREAD.try_with(|thread| thread.poll_begin(self, application, cx));
        // A thread that ends has nothing to be shared.
        begun.unwrap_or(Poll::Ready(()))
    }

    /// The guest has computed: its application is charged for that.
    pub(crate) fn finish(&mut self, application: &CpuShare, stopwatch: &mut Stopwatch) {
        let took = i64::try_from(stopwatch.last().as_nanos()).unwrap_or(i64::MAX);
        let prepaid = std::mem::take(&mut self.prepaid);
        let _ = THREAD.try_with(|thread| thread.charge(application, took, prepaid));
        if let Some(lap) = stopwatch.take_lap() {
            application.charge(lap);
        }
    }
}

impl Drop for ServingTurn {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            *place.lock() = PlaceState::Gone;
        }
    }
}

/// A thread that guests compute on. What each turn looks at is apart from what is looked at when an
/// application has used up its quantum, or another one has its turn.
#[derive(Debug)]
struct ServingThread {
    /// The application that has computed last, what it has left in this round, and its turns.
    application: Cell<u64>,
    left: Cell<i64>,
    turns: Cell<u32>,
    round: Cell<u64>,
    rounds: RefCell<Rounds>,
}

#[derive(Debug)]
struct Rounds {
    began: Option<Instant>,
    accounts: BTreeMap<u64, RoundAccount>,
    /// The application that has computed before that one.
    before: u64,
    /// There were two of them since this was last asked.
    are_several: bool,
    /// Until when they count as several.
    several_until: Option<Instant>,
    /// The task that ends rounds, as long as it is there, and its runtime.
    keeper: Weak<()>,
    runtime: Option<Id>,
}

/// What an application may compute on a thread.
#[derive(Debug)]
struct RoundAccount {
    weight: u64,
    /// What it had at the beginning of the round, and what it has left.
    credit: i64,
    left: i64,
    turns: u32,
    /// What one of its turns takes.
    turn: i64,
    /// When it has last computed here.
    last: Instant,
    waiting: VecDeque<Arc<RoundPlace>>,
}

/// A guest that waits for the next round.
#[derive(Debug)]
struct RoundPlace(Mutex<PlaceState>);

#[derive(Debug)]
enum PlaceState {
    For(Waker),
    /// In this round, with what has been taken for its turn.
    Granted {
        prepaid: i64,
        round: u64,
    },
    Gone,
}

impl ServingThread {
    const fn new() -> Self {
        Self {
            application: Cell::new(NONE),
            left: Cell::new(0),
            turns: Cell::new(0),
            round: Cell::new(1),
            rounds: RefCell::new(Rounds {
                began: None,
                accounts: BTreeMap::new(),
                before: NONE,
                are_several: false,
                several_until: None,
                keeper: Weak::new(),
                runtime: None,
            }),
        }
    }

    fn poll_begin(
        &self,
        turn: &mut ServingTurn,
        application: &CpuShare,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let is_current = self.application.get() == application.number();
        if !is_current || self.left.get() <= 0 || turn.place.is_some() {
            return self.poll_next(turn, application, cx);
        }
        (turn.round, turn.polls) = (self.round.get(), 1);
        Poll::Ready(())
    }

    fn poll_next(
        &self,
        turn: &mut ServingTurn,
        application: &CpuShare,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if let Some(place) = &turn.place {
            let mut waiting = place.lock();
            match &mut *waiting {
                PlaceState::For(waker) => {
                    waker.clone_from(cx.waker());
                    return Poll::Pending;
                }
                // In a later one, nothing has been taken of that.
                PlaceState::Granted { prepaid, round } if *round == self.round.get() => {
                    turn.prepaid = *prepaid;
                }
                PlaceState::Granted { .. } => {}
                PlaceState::Gone => {}
            }
            drop(waiting);
            turn.place = None;
            self.switch_to(application, &mut self.rounds.borrow_mut());
            (turn.round, turn.polls) = (self.round.get(), 1);
            return Poll::Ready(());
        }
        let rounds = &mut *self.rounds.borrow_mut();
        self.switch_to(application, rounds);
        if self.left.get() <= 0 {
            if turn.round == self.round.get() && turn.polls < POLLS {
                turn.polls += 1;
                return Poll::Ready(());
            }
            let now = Instant::now();
            self.save(rounds);
            if rounds.is_busy(now) && rounds.keep() {
                turn.place = Some(rounds.wait(application, cx.waker()));
                return Poll::Pending;
            }
            rounds.begin_anew(now);
            self.round.set(self.round.get() + 1);
            // It may have been forgotten.
            rounds.account(application);
            self.load(application.number(), rounds);
        }
        (turn.round, turn.polls) = (self.round.get(), 1);
        Poll::Ready(())
    }

    fn charge(&self, application: &CpuShare, took: i64, prepaid: i64) {
        if self.application.get() == application.number() {
            let took = took.saturating_add(PER_TURN).saturating_sub(prepaid);
            self.left.set(self.left.get().saturating_sub(took));
            self.turns.set(self.turns.get().saturating_add(1));
        }
    }

    /// Ends a round, and begins the next: `false` if no guest waits for it.
    fn end_round(&self) -> bool {
        let granted = {
            let rounds = &mut *self.rounds.borrow_mut();
            self.save(rounds);
            rounds.advance(Instant::now())
        };
        self.round.set(self.round.get() + 1);
        // So that each application's account is looked at anew.
        self.application.set(NONE);
        let goes_on = !granted.is_empty();
        for (place, prepaid) in granted {
            place.grant(prepaid, self.round.get());
        }
        goes_on
    }

    /// Makes this application the one whose turn it is.
    fn switch_to(&self, application: &CpuShare, rounds: &mut Rounds) {
        let number = application.number();
        if self.application.get() == number {
            return;
        }
        self.save(rounds);
        rounds.are_several |= rounds.before != number && rounds.before != NONE;
        rounds.before = number;
        rounds.account(application);
        self.load(number, rounds);
    }

    fn save(&self, rounds: &mut Rounds) {
        if let Some(account) = rounds.accounts.get_mut(&self.application.get()) {
            account.left = self.left.get().max(-MOST_DEBT);
            account.turns = self.turns.get();
        }
    }

    fn load(&self, number: u64, rounds: &Rounds) {
        if let Some(account) = rounds.accounts.get(&number) {
            self.application.set(number);
            self.left.set(account.left);
            self.turns.set(account.turns);
        }
    }
}

impl Rounds {
    /// Whether the thread has so much to do, for several applications, that they have to take turns.
    fn is_busy(&mut self, now: Instant) -> bool {
        if std::mem::take(&mut self.are_several) {
            self.several_until = Some(now + SEEN_FOR);
        }
        if self.several_until.is_none_or(|until| now >= until) {
            return false;
        }
        if self.keeper.strong_count() > 0 {
            return true;
        }
        let Some(began) = self.began else {
            return false;
        };
        let used: i64 =
            (self.accounts.values().map(RoundAccount::used)).fold(0, i64::saturating_add);
        let passed = now.saturating_duration_since(began).as_nanos();
        i128::from(used) * i128::from(BUSY_PART) >= passed as i128
    }

    /// Has rounds ended from now on. `false` where they cannot be: in a runtime of several threads no task
    /// knows when the others of its thread have been polled.
    fn keep(&mut self) -> bool {
        let Ok(runtime) = Handle::try_current() else {
            return false;
        };
        if runtime.runtime_flavor() != RuntimeFlavor::CurrentThread {
            return false;
        }
        if self.keeper.strong_count() > 0 && self.runtime == Some(runtime.id()) {
            return true;
        }
        let alive = Arc::new(());
        self.keeper = Arc::downgrade(&alive);
        self.runtime = Some(runtime.id());
        drop(runtime.spawn(keep(alive)));
        // A runtime that ends takes no task.
        self.keeper.strong_count() > 0
    }

    fn account(&mut self, application: &CpuShare) -> &mut RoundAccount {
        (self.accounts)
            .entry(application.number())
            .or_insert_with(|| RoundAccount::new(application.weight(), Instant::now()))
    }

    fn wait(&mut self, application: &CpuShare, waker: &Waker) -> Arc<RoundPlace> {
        let place = Arc::new(RoundPlace(Mutex::new(PlaceState::For(waker.clone()))));
        let waiting = &mut self.account(application).waiting;
        waiting.push_back(Arc::clone(&place));
        place
    }

    /// Begins a round of a thread that has time for all.
    fn begin_anew(&mut self, now: Instant) {
        self.began = Some(now);
        self.end_turns(now);
        for account in self.accounts.values_mut() {
            account.credit = QUANTUM;
            account.left = QUANTUM;
        }
    }

    /// Ends the round, and begins the next one of those in which some guest can have its turn. Returns those
    /// that have it, with what has been taken from their applications for that.
    fn advance(&mut self, now: Instant) -> Vec<(Arc<RoundPlace>, i64)> {
        self.began = Some(now);
        for account in self.accounts.values_mut() {
            account.waiting.retain(|place| !place.is_gone());
        }
        let is_active = |account: &&RoundAccount| account.turns > 0 || !account.waiting.is_empty();
        let active = self.accounts.values().filter(is_active);
        let heaviest = active.map(|account| account.weight).max().unwrap_or(1);
        self.end_turns(now);
        let waiting = self.accounts.values().filter(|it| !it.waiting.is_empty());
        let rounds = waiting.map(|it| it.rounds(heaviest)).min().unwrap_or(1);
        let mut granted = Vec::new();
        for account in self.accounts.values_mut() {
            let quantum = account.quantum(heaviest);
            let left = account.left.saturating_add(quantum.saturating_mul(rounds));
            account.credit = left.min(quantum);
            account.left = account.credit;
            while account.left > 0
                && let Some(place) = account.waiting.pop_front()
            {
                granted.push((place, account.turn));
                account.left -= account.turn;
            }
        }
        granted
    }

    /// Learns what turns take, and forgets the applications that have not had any for long.
    fn end_turns(&mut self, now: Instant) {
        self.accounts.retain(|_, account| {
            if account.turns > 0 {
                // Turns that were paid for in advance, in part, may seem to have taken nothing.
                if account.used() > 0 {
                    account.turn = (account.used() / i64::from(account.turns)).max(1);
                }
                account.last = now;
                account.turns = 0;
            }
            let is_fresh = now.saturating_duration_since(account.last) < SEEN_FOR;
            is_fresh || !account.waiting.is_empty()
        });
    }
}

impl RoundAccount {
    fn new(weight: u64, now: Instant) -> Self {
        Self {
            weight,
            credit: QUANTUM,
            left: QUANTUM,
            turns: 0,
            turn: EXPECTED,
            last: now,
            waiting: VecDeque::new(),
        }
    }

    /// What was computed in this round.
    fn used(&self) -> i64 {
        self.credit.saturating_sub(self.left)
    }

    /// What it may compute in a round, beside one of that weight.
    fn quantum(&self, heaviest: u64) -> i64 {
        let quantum = u128::from(QUANTUM.unsigned_abs()) * u128::from(self.weight);
        let quantum = i64::try_from(quantum / u128::from(heaviest.max(1))).unwrap_or(QUANTUM);
        quantum.clamp(1, QUANTUM)
    }

    /// After how many rounds it may compute again.
    fn rounds(&self, heaviest: u64) -> i64 {
        let lacks = 1_i64.saturating_sub(self.left).max(1);
        let quantum = self.quantum(heaviest);
        (lacks.saturating_add(quantum - 1) / quantum).max(1)
    }
}

impl RoundPlace {
    fn lock(&self) -> MutexGuard<'_, PlaceState> {
        // Nothing is left half done under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_gone(&self) -> bool {
        matches!(*self.lock(), PlaceState::Gone)
    }

    fn grant(&self, prepaid: i64, round: u64) {
        let mut waiting = self.lock();
        let granted = PlaceState::Granted { prepaid, round };
        if let PlaceState::For(_) = &*waiting
            && let PlaceState::For(waker) = std::mem::replace(&mut *waiting, granted)
        {
            drop(waiting);
            waker.wake();
        }
    }
}

/// Ends rounds, as long as guests wait for the next.
async fn keep(_alive: Arc<()>) {
    loop {
        // Until the thread has looked at its sockets, and has polled what was ready.
        tokio::task::yield_now().await;
        let goes_on = THREAD.try_with(ServingThread::end_round);
        if !goes_on.unwrap_or(false) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    /// Turns that guests have had, by the number of their application.
    type TurnLog = Arc<Mutex<Vec<u64>>>;

    /// What a turn takes, as far as the thread is told: much more than it takes in truth, so that the thread
    /// is busy however slow it is.
    const TURN: Duration = Duration::from_micros(100);

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(test);
    }

    /// A guest that computes for so many turns, and is ready for the next one after each.
    fn guest(
        application: &Arc<CpuShare>,
        count: usize,
        turns: &TurnLog,
    ) -> tokio::task::JoinHandle<()> {
        let application = Arc::clone(application);
        let turns = Arc::clone(turns);
        tokio::spawn(async move {
            for _ in 0..count {
                let mut turn = ServingTurn::default();
                poll_fn(|cx| turn.poll_begin(&application, cx)).await;
                turns.lock().unwrap().push(application.number());
                turn.finish(&application, &mut Stopwatch::after(1, TURN));
                tokio::task::yield_now().await;
            }
        })
    }

    fn count(turns: &TurnLog, application: u64) -> usize {
        let turns = turns.lock().unwrap();
        turns
            .iter()
            .filter(|number| **number == application)
            .count()
    }

    #[test]
    fn a_request_does_not_wait_for_all_those_of_another_application_on_its_thread() {
        run(async {
            let turns = TurnLog::default();
            let flood = CpuShare::new(1, 1);
            let other = CpuShare::new(2, 1);
            let guests: Vec<_> = (0..200).map(|_| guest(&flood, 50, &turns)).collect();
            let mut waited = Vec::new();
            for _ in 0..10 {
                let before = count(&turns, 1);
                guest(&other, 1, &turns).await.unwrap();
                waited.push(count(&turns, 1) - before);
            }
            guests.iter().for_each(tokio::task::JoinHandle::abort);
            // The first finds the others there already, whose application is alone until then. A thread that
            // does not get to compute for long may look as if it had time for all.
            waited.sort_unstable();
            assert!(waited[7] <= 20, "{waited:?}");
        });
    }

    #[test]
    fn a_thread_is_shared_by_weight() {
        run(async {
            let turns = TurnLog::default();
            let applications = [CpuShare::new(1, 3), CpuShare::new(2, 1)];
            let guests: Vec<_> = (0..100)
                .map(|number| guest(&applications[number % 2], 1000, &turns))
                .collect();
            while turns.lock().unwrap().len() < 2000 {
                tokio::task::yield_now().await;
            }
            guests.iter().for_each(tokio::task::JoinHandle::abort);
            let part = count(&turns, 1) * 100 / turns.lock().unwrap().len();
            assert!((65..=85).contains(&part), "{part}");
        });
    }

    #[test]
    fn an_application_by_itself_waits_for_nothing() {
        run(async {
            let turns = TurnLog::default();
            let application = CpuShare::new(1, 1);
            let mut guests: Vec<_> = (0..20).map(|_| guest(&application, 20, &turns)).collect();
            while let Some(guest) = guests.pop() {
                assert!(Handle::current().metrics().num_alive_tasks() <= 20);
                guest.await.unwrap();
            }
            assert_eq!(count(&turns, 1), 400);
        });
    }

    #[test]
    fn guests_that_go_while_they_wait_hold_up_no_other() {
        run(async {
            let turns = TurnLog::default();
            let flood = CpuShare::new(1, 1);
            let other = CpuShare::new(2, 1);
            let gone: Vec<_> = (0..100).map(|_| guest(&flood, 1000, &turns)).collect();
            let stay: Vec<_> = (0..10).map(|_| guest(&flood, 10, &turns)).collect();
            guest(&other, 10, &turns).await.unwrap();
            gone.iter().for_each(tokio::task::JoinHandle::abort);
            for guest in stay {
                guest.await.unwrap();
            }
            for guest in gone {
                let _ = guest.await;
            }
            // The task that ends rounds goes with the last that waits.
            while Handle::current().metrics().num_alive_tasks() > 0 {
                tokio::task::yield_now().await;
            }
        });
    }

    #[test]
    fn a_runtime_that_ends_leaves_its_thread_as_it_was() {
        for _ in 0..3 {
            run(async {
                let turns = TurnLog::default();
                let applications = [CpuShare::new(1, 1), CpuShare::new(2, 1)];
                for number in 0..40 {
                    drop(guest(&applications[number % 2], 1000, &turns));
                }
                while turns.lock().unwrap().len() < 400 {
                    tokio::task::yield_now().await;
                }
            });
        }
    }

    #[test]
    fn what_a_turn_takes_beyond_the_quantum_is_taken_from_the_next_ones() {
        let mut account = RoundAccount::new(1, Instant::now());
        assert_eq!(account.rounds(1), 1);
        account.left = -3 * QUANTUM;
        assert_eq!(account.rounds(1), 4);
        assert_eq!(account.quantum(4), QUANTUM / 4);
        assert_eq!(account.rounds(4), 13);
        account.left = i64::MIN;
        assert!(account.rounds(u64::MAX) > 1);
    }
}
