//! Fair scheduling of guests on a thread that serves, while several applications together want more processor time
//! than it has. The background has its own [queue](crate::scheduling::fair_queue).
//!
//! tokio polls tasks in the order in which they are woken up, so a request would wait for all earlier ones on its
//! thread, hundreds of which may belong to one application. Where a thread is busy with several applications, each
//! may compute for a quantum per round. Guests beyond that wait for the next round outside of tokio's queue, first
//! in, first out. A round ends when each task that was ready has been polled and the sockets have been looked at.
//! So a request waits for a quantum or two of an application that floods the thread.
//!
//! This is deficit round robin (Shreedhar and Varghese, 1996): each application is a flow with a deficit counter.
//! What a turn takes beyond the quantum is carried over as a debt, and unused credit is discarded. A thread with
//! time to spare, or with one application, is work-conserving: no guest waits there.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::{Handle, Id, RuntimeFlavor};

use crate::scheduling::cpu_share::CpuShare;
use crate::scheduling::stopwatch::Stopwatch;

/// What the guests of the application with the greatest weight may compute in a round, in nanoseconds: enough for
/// some small requests. Others get less, by weight.
const QUANTUM: i64 = 250_000;

/// What a turn is charged beside what its guest computes, in nanoseconds: for HTTP and the socket.
const PER_TURN: i64 = 15_000;

/// The most that is carried over to the next rounds.
const MOST_DEBT: i64 = 20 * QUANTUM;

/// What the first turn of an application is expected to take, in nanoseconds.
const EXPECTED: i64 = 50_000;

/// A thread is busy when guests take at least one part in so many of its time.
const BUSY_PART: i64 = 3;

/// How long a thread remembers an application after its last turn.
const SEEN_FOR: Duration = Duration::from_secs(10);

/// How often a guest may be polled in one turn: the host reads what it has written in between, so that a small
/// response is complete when its head goes out.
const POLLS: u8 = 5;

/// Stands for no application: none has this number.
const NONE: u64 = u64::MAX;

thread_local! {
    static THREAD: ServingThread = const { ServingThread::new() };
}

/// The turns of one guest on the threads that serve. Dropping it removes the guest from the queue.
#[derive(Debug, Default)]
pub(crate) struct ServingTurn {
    /// While it waits for the next round.
    queued: Option<Arc<QueuedTurn>>,
    /// What its application has been charged for this turn in advance.
    prepaid: i64,
    /// The round of its last turn, and how often it was polled in that.
    round: u64,
    polls: u8,
}

impl ServingTurn {
    /// Waits until the guest may compute. Once it has, [`finish`](Self::finish) is to be called.
    pub(crate) fn poll_begin(&mut self, application: &CpuShare, cx: &mut Context<'_>) -> Poll<()> {
        let begun = THREAD.try_with(|thread| thread.poll_begin(self, application, cx));
        // The thread ends: there is nothing left to share.
        begun.unwrap_or(Poll::Ready(()))
    }

    /// Charges the application for a turn that has ended.
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
        if let Some(queued) = self.queued.take() {
            *queued.lock() = QueuedTurnState::Gone;
        }
    }
}

/// The scheduler of one thread. The cells are the fast path: they suffice while the same application computes and
/// has some of its quantum left.
#[derive(Debug)]
struct ServingThread {
    /// The application that computed last, its deficit counter, and its turns in this round.
    application: Cell<u64>,
    deficit: Cell<i64>,
    turns: Cell<u32>,
    round: Cell<u64>,
    rounds: RefCell<Rounds>,
}

#[derive(Debug)]
struct Rounds {
    began: Option<Instant>,
    flows: BTreeMap<u64, RoundRobinFlow>,
    /// The application of the turn before.
    before: u64,
    /// Applications have changed since [`is_busy`](Self::is_busy) was last called.
    are_several: bool,
    /// Until when the thread counts as one of several applications.
    several_until: Option<Instant>,
    /// Alive as long as the task that ends rounds, and its runtime.
    keeper: Weak<()>,
    runtime: Option<Id>,
}

/// An application on a thread.
#[derive(Debug)]
struct RoundRobinFlow {
    weight: u64,
    /// What it may compute: at the beginning of the round, and now. Negative is a debt.
    credit: i64,
    deficit: i64,
    turns: u32,
    /// What one of its turns takes, on average over its last round.
    turn: i64,
    /// The end of the last round in which it computed.
    last: Instant,
    waiting: VecDeque<Arc<QueuedTurn>>,
}

/// A guest that waits for the next round.
#[derive(Debug)]
struct QueuedTurn(Mutex<QueuedTurnState>);

#[derive(Debug)]
enum QueuedTurnState {
    Waiting(Waker),
    /// It may compute in this round, and its application has been charged `prepaid`.
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
            deficit: Cell::new(0),
            turns: Cell::new(0),
            round: Cell::new(1),
            rounds: RefCell::new(Rounds {
                began: None,
                flows: BTreeMap::new(),
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
        if !is_current || self.deficit.get() <= 0 || turn.queued.is_some() {
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
        if let Some(queued) = &turn.queued {
            let mut waiting = queued.lock();
            match &mut *waiting {
                QueuedTurnState::Waiting(waker) => {
                    waker.clone_from(cx.waker());
                    return Poll::Pending;
                }
                // In a later round, nothing has been charged in advance.
                QueuedTurnState::Granted { prepaid, round } if *round == self.round.get() => {
                    turn.prepaid = *prepaid;
                }
                QueuedTurnState::Granted { .. } => {}
                QueuedTurnState::Gone => {}
            }
            drop(waiting);
            turn.queued = None;
            self.switch_to(application, &mut self.rounds.borrow_mut());
            (turn.round, turn.polls) = (self.round.get(), 1);
            return Poll::Ready(());
        }
        let rounds = &mut *self.rounds.borrow_mut();
        self.switch_to(application, rounds);
        if self.deficit.get() <= 0 {
            if turn.round == self.round.get() && turn.polls < POLLS {
                turn.polls += 1;
                return Poll::Ready(());
            }
            let now = Instant::now();
            self.save(rounds);
            if rounds.is_busy(now) && rounds.spawn_keeper() {
                turn.queued = Some(rounds.enqueue(application, cx.waker()));
                return Poll::Pending;
            }
            rounds.restart(now);
            self.round.set(self.round.get() + 1);
            // `restart` may have removed it.
            rounds.flow(application);
            self.load(application.number(), rounds);
        }
        (turn.round, turn.polls) = (self.round.get(), 1);
        Poll::Ready(())
    }

    fn charge(&self, application: &CpuShare, took: i64, prepaid: i64) {
        if self.application.get() == application.number() {
            let took = took.saturating_add(PER_TURN).saturating_sub(prepaid);
            self.deficit.set(self.deficit.get().saturating_sub(took));
            self.turns.set(self.turns.get().saturating_add(1));
        }
    }

    /// Ends a round, and begins the next one. `false` if no guest was waiting for it.
    fn end_round(&self) -> bool {
        let granted = {
            let rounds = &mut *self.rounds.borrow_mut();
            self.save(rounds);
            rounds.advance(Instant::now())
        };
        self.round.set(self.round.get() + 1);
        // The cells are stale: the next turn loads them from the flows.
        self.application.set(NONE);
        let continues = !granted.is_empty();
        for (queued, prepaid) in granted {
            queued.grant(prepaid, self.round.get());
        }
        continues
    }

    /// Loads this application's flow into the cells.
    fn switch_to(&self, application: &CpuShare, rounds: &mut Rounds) {
        let number = application.number();
        if self.application.get() == number {
            return;
        }
        self.save(rounds);
        rounds.are_several |= rounds.before != number && rounds.before != NONE;
        rounds.before = number;
        rounds.flow(application);
        self.load(number, rounds);
    }

    fn save(&self, rounds: &mut Rounds) {
        if let Some(flow) = rounds.flows.get_mut(&self.application.get()) {
            flow.deficit = self.deficit.get().max(-MOST_DEBT);
            flow.turns = self.turns.get();
        }
    }

    fn load(&self, number: u64, rounds: &Rounds) {
        if let Some(flow) = rounds.flows.get(&number) {
            self.application.set(number);
            self.deficit.set(flow.deficit);
            self.turns.set(flow.turns);
        }
    }
}

impl Rounds {
    /// Whether several applications compete for the thread.
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
            (self.flows.values().map(RoundRobinFlow::used)).fold(0, i64::saturating_add);
        let passed = now.saturating_duration_since(began).as_nanos();
        i128::from(used) * i128::from(BUSY_PART) >= passed as i128
    }

    /// Makes sure that a task ends rounds. `false` where none can: in a runtime of several threads a task does not
    /// know when the others of its thread have been polled.
    fn spawn_keeper(&mut self) -> bool {
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
        drop(runtime.spawn(keep_rounds(alive)));
        // A runtime that shuts down drops the task at once.
        self.keeper.strong_count() > 0
    }

    fn flow(&mut self, application: &CpuShare) -> &mut RoundRobinFlow {
        (self.flows)
            .entry(application.number())
            .or_insert_with(|| RoundRobinFlow::new(application.weight(), Instant::now()))
    }

    fn enqueue(&mut self, application: &CpuShare, waker: &Waker) -> Arc<QueuedTurn> {
        let queued = Arc::new(QueuedTurn(Mutex::new(QueuedTurnState::Waiting(
            waker.clone(),
        ))));
        let waiting = &mut self.flow(application).waiting;
        waiting.push_back(Arc::clone(&queued));
        queued
    }

    /// Begins a round on a thread that is not busy: debts are forgiven.
    fn restart(&mut self, now: Instant) {
        self.began = Some(now);
        self.end_turns(now);
        for flow in self.flows.values_mut() {
            flow.credit = QUANTUM;
            flow.deficit = QUANTUM;
        }
    }

    /// Ends the round, and begins the next one in which a waiting guest can have a turn, skipping those in which
    /// all flows are still in debt. Returns the guests that have a turn, with what their flows are charged for it
    /// in advance.
    fn advance(&mut self, now: Instant) -> Vec<(Arc<QueuedTurn>, i64)> {
        self.began = Some(now);
        for flow in self.flows.values_mut() {
            flow.waiting.retain(|queued| !queued.is_gone());
        }
        let is_active = |flow: &&RoundRobinFlow| flow.turns > 0 || !flow.waiting.is_empty();
        let active = self.flows.values().filter(is_active);
        let heaviest = active.map(|flow| flow.weight).max().unwrap_or(1);
        self.end_turns(now);
        let waiting = self.flows.values().filter(|it| !it.waiting.is_empty());
        let rounds = waiting.map(|it| it.rounds(heaviest)).min().unwrap_or(1);
        let mut granted = Vec::new();
        for flow in self.flows.values_mut() {
            let quantum = flow.quantum(heaviest);
            let deficit = (flow.deficit).saturating_add(quantum.saturating_mul(rounds));
            flow.credit = deficit.min(quantum);
            flow.deficit = flow.credit;
            while flow.deficit > 0
                && let Some(queued) = flow.waiting.pop_front()
            {
                granted.push((queued, flow.turn));
                flow.deficit -= flow.turn;
            }
        }
        granted
    }

    /// Updates the averages, and removes flows without a turn for [`SEEN_FOR`].
    fn end_turns(&mut self, now: Instant) {
        self.flows.retain(|_, flow| {
            if flow.turns > 0 {
                // Turns that were charged in advance may seem to have taken nothing.
                if flow.used() > 0 {
                    flow.turn = (flow.used() / i64::from(flow.turns)).max(1);
                }
                flow.last = now;
                flow.turns = 0;
            }
            let is_fresh = now.saturating_duration_since(flow.last) < SEEN_FOR;
            is_fresh || !flow.waiting.is_empty()
        });
    }
}

impl RoundRobinFlow {
    fn new(weight: u64, now: Instant) -> Self {
        Self {
            weight,
            credit: QUANTUM,
            deficit: QUANTUM,
            turns: 0,
            turn: EXPECTED,
            last: now,
            waiting: VecDeque::new(),
        }
    }

    /// What it has computed in this round.
    fn used(&self) -> i64 {
        self.credit.saturating_sub(self.deficit)
    }

    /// Its quantum beside a flow of the weight `heaviest`.
    fn quantum(&self, heaviest: u64) -> i64 {
        let quantum = u128::from(QUANTUM.unsigned_abs()) * u128::from(self.weight);
        let quantum = i64::try_from(quantum / u128::from(heaviest.max(1))).unwrap_or(QUANTUM);
        quantum.clamp(1, QUANTUM)
    }

    /// After how many rounds it is out of debt.
    fn rounds(&self, heaviest: u64) -> i64 {
        let lacks = 1_i64.saturating_sub(self.deficit).max(1);
        let quantum = self.quantum(heaviest);
        (lacks.saturating_add(quantum - 1) / quantum).max(1)
    }
}

impl QueuedTurn {
    fn lock(&self) -> MutexGuard<'_, QueuedTurnState> {
        self.0.lock()
    }

    fn is_gone(&self) -> bool {
        matches!(*self.lock(), QueuedTurnState::Gone)
    }

    fn grant(&self, prepaid: i64, round: u64) {
        let mut waiting = self.lock();
        let granted = QueuedTurnState::Granted { prepaid, round };
        if let QueuedTurnState::Waiting(_) = &*waiting
            && let QueuedTurnState::Waiting(waker) = std::mem::replace(&mut *waiting, granted)
        {
            drop(waiting);
            waker.wake();
        }
    }
}

/// Ends rounds while guests wait for the next.
async fn keep_rounds(_alive: Arc<()>) {
    loop {
        // Resumes when the thread has polled what was ready and has looked at its sockets.
        tokio::task::yield_now().await;
        let continues = THREAD.try_with(ServingThread::end_round);
        if !continues.unwrap_or(false) {
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

    /// What each turn is reported to take: much more than it does, so that the thread counts as busy however slow
    /// the machine is.
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
                turns.lock().push(application.number());
                turn.finish(&application, &mut Stopwatch::after(1, TURN));
                tokio::task::yield_now().await;
            }
        })
    }

    fn count(turns: &TurnLog, application: u64) -> usize {
        let turns = turns.lock();
        turns
            .iter()
            .filter(|number| **number == application)
            .count()
    }

    #[test]
    fn a_request_does_not_wait_for_all_those_of_an_application_that_floods_its_thread() {
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
            while turns.lock().len() < 2000 {
                tokio::task::yield_now().await;
            }
            guests.iter().for_each(tokio::task::JoinHandle::abort);
            let part = count(&turns, 1) * 100 / turns.lock().len();
            assert!((65..=85).contains(&part), "{part}");
        });
    }

    #[test]
    fn guests_of_a_single_application_never_wait() {
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
    fn guests_that_are_dropped_while_they_wait_delay_no_others() {
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
    fn a_runtime_that_ends_leaves_no_state_in_its_thread() {
        for _ in 0..3 {
            run(async {
                let turns = TurnLog::default();
                let applications = [CpuShare::new(1, 1), CpuShare::new(2, 1)];
                for number in 0..40 {
                    drop(guest(&applications[number % 2], 1000, &turns));
                }
                while turns.lock().len() < 400 {
                    tokio::task::yield_now().await;
                }
            });
        }
    }

    #[test]
    fn a_debt_is_carried_over_to_the_next_rounds() {
        let mut account = RoundRobinFlow::new(1, Instant::now());
        assert_eq!(account.rounds(1), 1);
        account.deficit = -3 * QUANTUM;
        assert_eq!(account.rounds(1), 4);
        assert_eq!(account.quantum(4), QUANTUM / 4);
        assert_eq!(account.rounds(4), 13);
        account.deficit = i64::MIN;
        assert!(account.rounds(u64::MAX) > 1);
    }
}
