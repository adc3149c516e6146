//! The line of changes: one at a time, in the order in which their connections were accepted.

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::{Notify, OwnedMutexGuard};
use tokio::task::unconstrained;
use tokio::time::{Instant, timeout_at};

/// How long a change is held back for earlier ones that are still on their way. To take a large body out
/// of its socket takes more turns than a small one; a client that has stopped in the middle of one holds
/// nobody up for longer.
const ON_THE_WAY: Duration = Duration::from_millis(500);

/// Those who wait for their turn, first come, first served.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    turn: Arc<tokio::sync::Mutex<()>>,
    arrivals: Mutex<Arrivals>,
    /// Some arrival has taken its place, or asks for none.
    settled: Notify,
}

#[derive(Debug, Default)]
struct Arrivals {
    next: u64,
    /// Those that have no place yet, with the time of their arrival.
    open: BTreeMap<u64, Instant>,
}

/// The right to change something, until it is dropped.
pub(crate) type Turn = OwnedMutexGuard<()>;

/// Someone who may ask for a turn, and whom later ones let go first.
#[derive(Debug)]
pub(crate) struct Arrival {
    line: Line,
    /// `None` for a stranger, for whom nobody waits.
    number: Option<u64>,
}

impl Line {
    /// Takes note of someone who may ask for a turn.
    pub(crate) fn arrive(&self) -> Arrival {
        let mut arrivals = self.arrivals();
        let number = arrivals.next;
        arrivals.next += 1;
        arrivals.open.insert(number, Instant::now());
        Arrival {
            line: self.clone(),
            number: Some(number),
        }
    }

    /// The same of someone whom others do not wait for.
    pub(crate) fn arrive_unnoticed(&self) -> Arrival {
        Arrival {
            line: self.clone(),
            number: None,
        }
    }

    /// Takes the next place in the line, at once. The future is ready when it is this place's turn.
    pub(crate) fn join(&self) -> impl Future<Output = Turn> + Send + 'static {
        // A mutex queues whoever polls it first, and tokio may put off the polls of a busy task.
        let mut place = Box::pin(unconstrained(Arc::clone(&self.0.turn).lock_owned()));
        let first: Pin<&mut _> = place.as_mut();
        let first = first.poll(&mut Context::from_waker(Waker::noop()));
        async move {
            match first {
                Poll::Ready(turn) => turn,
                Poll::Pending => place.await,
            }
        }
    }

    fn arrivals(&self) -> MutexGuard<'_, Arrivals> {
        // Nothing panics while it is locked.
        (self.0.arrivals.lock()).unwrap_or_else(PoisonError::into_inner)
    }

    /// Until when to wait for those who came before `number`; `None` when there is no one to wait for.
    fn wait_until(&self, number: u64) -> Option<Instant> {
        let arrivals = self.arrivals();
        let (_, last) = arrivals.open.range(..number).next_back()?;
        let until = *last + ON_THE_WAY;
        (until > Instant::now()).then_some(until)
    }
}

impl Arrival {
    /// Waits for the turn of this arrival.
    pub(crate) async fn turn(self) -> Turn {
        loop {
            let mut settled = pin!(self.line.0.settled.notified());
            settled.as_mut().enable();
            let until = self.number.and_then(|number| self.line.wait_until(number));
            let Some(until) = until else {
                break;
            };
            // Whichever it is, it is looked at again.
            _ = timeout_at(until, settled).await;
        }
        let place = self.line.join();
        drop(self);
        place.await
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.line.arrivals().open.remove(&number);
            self.line.0.settled.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn turns_come_in_the_order_of_places_whoever_waits_first() {
        let line = Line::default();
        let first = line.join();
        let second = line.join();
        let third = tokio::spawn(line.join());
        // Whoever waits for nothing yet keeps its place all the same.
        yield_now().await;
        assert!(!third.is_finished());
        drop(first.await);
        yield_now().await;
        assert!(!third.is_finished());
        drop(second.await);
        drop(third.await.unwrap());
    }

    #[tokio::test]
    async fn a_place_that_is_given_up_holds_nobody_up() {
        let line = Line::default();
        let turn = line.join().await;
        let given_up = line.join();
        let next = line.join();
        drop(given_up);
        drop(turn);
        drop(next.await);
    }

    #[tokio::test]
    async fn later_arrivals_wait_for_earlier_ones() {
        let line = Line::default();
        let [first, second, third, fourth] = [(); 4].map(|()| line.arrive());
        let fourth = tokio::spawn(fourth.turn());
        yield_now().await;
        let third = tokio::spawn(third.turn());
        yield_now().await;
        assert!(!third.is_finished() && !fourth.is_finished());
        // One asks for nothing, the other takes its turn.
        drop(first);
        let turn = second.turn().await;
        yield_now().await;
        drop(turn);
        let turn = third.await.unwrap();
        yield_now().await;
        assert!(!fourth.is_finished());
        drop(turn);
        drop(fourth.await.unwrap());
    }

    #[tokio::test]
    async fn a_slow_arrival_does_not_hold_up_later_ones_for_long() {
        let line = Line::default();
        let slow = line.arrive();
        drop(line.arrive().turn().await);
        // It has been waited for once.
        let begun = Instant::now();
        drop(line.arrive().turn().await);
        assert!(begun.elapsed() < ON_THE_WAY);
        drop(slow.turn().await);
    }
}
