//! Fair scheduling of guests in the background: which of them computes next. The epoch ticker decides how long
//! a turn is.
//!
//! Turns are granted per application and not per guest, by weight, so that an application with a hundred busy
//! guests gets no more processor time than one with a single guest.
//!
//! This is start-time fair queueing (Goyal, Vin and Cheng, 1996): each application is a flow with a virtual time
//! that advances by what its guests compute, divided by its weight. The lowest goes first. A flow that was idle
//! resumes at the current virtual time, so that unused processor time cannot be saved up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::scheduling::cpu_share::CpuShare;

/// Nanoseconds that a turn is charged when it begins; its end corrects that.
const EXPECTED: u64 = 1_000_000;

/// The background's threads, and the guests that wait for one.
#[derive(Debug)]
pub(crate) struct FairQueue {
    state: Mutex<FairQueueState>,
}

#[derive(Debug)]
struct FairQueueState {
    /// Threads without a guest.
    free: usize,
    /// The virtual time of the flow whose turn began last.
    now: u64,
    /// Applications with waiting guests, by virtual time and number.
    waiting: BTreeMap<(u64, u64), Flow>,
}

/// An application with waiting guests.
#[derive(Debug)]
struct Flow {
    application: Arc<CpuShare>,
    guests: VecDeque<Arc<QueuedGuest>>,
}

/// A guest in the background.
#[derive(Debug)]
struct QueuedGuest {
    state: Mutex<QueuedGuestState>,
}

#[derive(Debug)]
enum QueuedGuestState {
    /// It does not want a turn.
    Idle,
    Waiting(Waker),
    /// It has a turn, or may begin one.
    Granted,
}

/// The turns of one guest in the background. Dropping it removes the guest from the queue, or gives its
/// turn back.
#[derive(Debug)]
pub(crate) struct BackgroundTurn {
    queue: Arc<FairQueue>,
    application: Arc<CpuShare>,
    guest: Arc<QueuedGuest>,
}

impl FairQueue {
    /// For so many threads.
    pub(crate) fn new(threads: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(FairQueueState {
                free: threads.max(1),
                now: 0,
                waiting: BTreeMap::new(),
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, FairQueueState> {
        self.state.lock()
    }

    /// Ends a turn, and grants its thread to the next guest.
    fn finish(&self, application: &CpuShare, took: Duration) {
        let mut state = self.lock();
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        state.advance(application, |time| {
            let expected = application.virtual_nanoseconds(EXPECTED);
            (time.saturating_sub(expected)).saturating_add(application.virtual_nanoseconds(took))
        });
        state.free += 1;
        let next = state.grant();
        drop(state);
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

impl FairQueueState {
    /// Changes the virtual time of an application, and its position in the queue.
    fn advance(&mut self, application: &CpuShare, change: impl FnOnce(u64) -> u64) {
        let before = application.virtual_time();
        let after = change(before);
        if before == after {
            return;
        }
        application.set_virtual_time(after);
        if let Some(flow) = self.waiting.remove(&(before, application.number())) {
            self.waiting.insert((after, application.number()), flow);
        }
    }

    /// Begins a turn of this application.
    fn begin(&mut self, application: &CpuShare) {
        self.free -= 1;
        self.now = self.now.max(application.virtual_time());
        self.advance(application, |time| {
            time.saturating_add(application.virtual_nanoseconds(EXPECTED))
        });
    }

    /// Grants a free thread to the next guest. Its waker is to be woken after the lock is released.
    fn grant(&mut self) -> Option<Waker> {
        while self.free > 0 {
            let mut first = self.waiting.first_entry()?;
            let application = Arc::clone(&first.get().application);
            let guest = first.get_mut().guests.pop_front();
            if first.get().guests.is_empty() {
                first.remove();
            }
            let Some(guest) = guest else { continue };
            let mut state = guest.state.lock();
            if let QueuedGuestState::Waiting(_) = &*state
                && let QueuedGuestState::Waiting(waker) =
                    std::mem::replace(&mut *state, QueuedGuestState::Granted)
            {
                self.begin(&application);
                return Some(waker);
            }
        }
        None
    }

    fn enqueue(&mut self, application: &Arc<CpuShare>, guest: &Arc<QueuedGuest>) {
        let key = |time| (time, application.number());
        let time = application.virtual_time();
        if let Some(flow) = self.waiting.get_mut(&key(time)) {
            flow.guests.push_back(Arc::clone(guest));
            return;
        }
        // A flow that was idle resumes at the current virtual time.
        let time = time.max(self.now);
        application.set_virtual_time(time);
        self.waiting.insert(
            key(time),
            Flow {
                application: Arc::clone(application),
                guests: VecDeque::from([Arc::clone(guest)]),
            },
        );
    }

    fn remove(&mut self, application: &CpuShare, guest: &Arc<QueuedGuest>) {
        let key = (application.virtual_time(), application.number());
        if let Some(flow) = self.waiting.get_mut(&key) {
            flow.guests.retain(|it| !Arc::ptr_eq(it, guest));
            if flow.guests.is_empty() {
                self.waiting.remove(&key);
            }
        }
    }
}

impl BackgroundTurn {
    pub(crate) fn new(queue: Arc<FairQueue>, application: Arc<CpuShare>) -> Self {
        Self {
            queue,
            application,
            guest: Arc::new(QueuedGuest {
                state: Mutex::new(QueuedGuestState::Idle),
            }),
        }
    }

    /// Waits until it is the guest's turn. Once it is, [`finish`](Self::finish) is to be called.
    pub(crate) fn poll_begin(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.queue.lock();
        let mut guest = self.guest.state.lock();
        match &mut *guest {
            QueuedGuestState::Granted => return Poll::Ready(()),
            QueuedGuestState::Waiting(waker) => {
                waker.clone_from(cx.waker());
                return Poll::Pending;
            }
            QueuedGuestState::Idle => {}
        }
        // A free thread goes to waiting guests first.
        if state.free > 0 && state.waiting.is_empty() {
            let time = self.application.virtual_time().max(state.now);
            self.application.set_virtual_time(time);
            state.begin(&self.application);
            *guest = QueuedGuestState::Granted;
            return Poll::Ready(());
        }
        *guest = QueuedGuestState::Waiting(cx.waker().clone());
        drop(guest);
        state.enqueue(&self.application, &self.guest);
        Poll::Pending
    }

    /// The turn is over, and took so long.
    pub(crate) fn finish(&self, took: Duration) {
        *self.guest.state.lock() = QueuedGuestState::Idle;
        self.queue.finish(&self.application, took);
    }
}

impl Drop for BackgroundTurn {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        let was = std::mem::replace(&mut *self.guest.state.lock(), QueuedGuestState::Idle);
        match was {
            QueuedGuestState::Idle => {}
            QueuedGuestState::Waiting(_) => state.remove(&self.application, &self.guest),
            QueuedGuestState::Granted => {
                drop(state);
                self.queue.finish(&self.application, Duration::ZERO);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: Duration = Duration::from_millis(1);

    /// Lets all guests compute for so many turns in all, on one thread, and counts those of each.
    fn compete(queue: &Arc<FairQueue>, applications: &[(u64, usize)], rounds: usize) -> Vec<usize> {
        let mut guests = Vec::new();
        for (index, &(weight, count)) in applications.iter().enumerate() {
            let share = CpuShare::new(index as u64, weight);
            for _ in 0..count {
                guests.push((
                    index,
                    BackgroundTurn::new(Arc::clone(queue), Arc::clone(&share)),
                ));
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
                    // It wants the next turn at once.
                    let _ = guest.poll_begin(&mut cx);
                }
            }
        }
        counts
    }

    #[test]
    fn an_application_with_many_busy_guests_gets_no_more_processor_time_than_one_with_a_single_one()
    {
        let counts = compete(&FairQueue::new(1), &[(1, 100), (1, 1)], 1000);
        assert!(counts[1] >= 450, "{counts:?}");
    }

    #[test]
    fn processor_time_is_shared_by_weight() {
        let counts = compete(&FairQueue::new(1), &[(3, 10), (1, 10)], 1000);
        assert!((700..=800).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn an_idle_application_saves_up_no_processor_time() {
        let queue = FairQueue::new(1);
        let mut cx = Context::from_waker(Waker::noop());
        let early = BackgroundTurn::new(Arc::clone(&queue), CpuShare::new(1, 1));
        for _ in 0..1000 {
            assert!(early.poll_begin(&mut cx).is_ready());
            early.finish(TURN);
        }
        let counts = compete(&queue, &[(1, 1), (1, 1)], 10);
        assert!(counts.iter().all(|count| *count >= 4), "{counts:?}");
    }

    #[test]
    fn a_turn_that_is_dropped_goes_to_the_next_guest() {
        let queue = FairQueue::new(1);
        let mut cx = Context::from_waker(Waker::noop());
        let share = |number| CpuShare::new(number, 1);
        let guests: Vec<_> = (0..3)
            .map(|number| BackgroundTurn::new(Arc::clone(&queue), share(number)))
            .collect();
        let polled: Vec<_> = guests.iter().map(|it| it.poll_begin(&mut cx)).collect();
        assert!(polled[0].is_ready() && polled[1].is_pending() && polled[2].is_pending());
        let mut guests = guests.into_iter();
        drop(guests.next());
        drop(guests.next());
        let last = guests.next().unwrap();
        assert!(last.poll_begin(&mut cx).is_ready());
        last.finish(TURN);
        let state = queue.lock();
        assert_eq!((state.free, state.waiting.len()), (1, 0));
    }
}
