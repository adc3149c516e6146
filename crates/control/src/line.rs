//! The queue of changes, one of which runs at a time: operators' in the order in which their connections were accepted,
//! and before those of proxied clients.

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, OwnedMutexGuard};
use tokio::task::unconstrained;
use tokio::time::{Instant, timeout, timeout_at};

use crate::Origin;

/// How long a change waits for earlier connections whose request has not arrived completely. A large body takes longer
/// to read than a small one; a client that has stopped in the middle of one delays others no longer than this.
const ON_THE_WAY: Duration = Duration::from_millis(500);

/// Changes of proxied clients at a time, waiting or in progress.
const PROXIED_WAITING: usize = 8;

#[derive(Clone, Debug, Default)]
pub(crate) struct Line(Arc<LineState>);

#[derive(Debug, Default)]
struct LineState {
    turn: Arc<tokio::sync::Mutex<()>>,
    arrivals: Mutex<Arrivals>,
    /// Held by the proxied change that waits for the turn. The other proxied ones wait for this lock.
    first_proxied: tokio::sync::Mutex<()>,
    /// Notified when a turn has ended, and when an operator's connection has asked for a turn or was dropped.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Arrivals {
    next: u64,
    /// Operators' connections that have not asked for a turn yet, with the time of their arrival.
    open: BTreeMap<u64, Instant>,
    /// Operators' changes, waiting or in progress.
    operators: usize,
    /// Proxied changes, waiting or in progress.
    proxied: usize,
}

/// The exclusive right to change something, until this is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    // Dropped before `_counted`, which wakes those that wait for both.
    _guard: OwnedMutexGuard<()>,
    _counted: Counted,
}

/// A proxied change gets no turn: operators had it all the time, or too many proxied ones wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy;

/// A connection that may ask for a turn. Until an operator's has asked or is dropped, later ones wait for it, for
/// [`ON_THE_WAY`] at most.
#[derive(Debug)]
pub(crate) struct Arrival {
    line: Line,
    /// `None` for proxied connections.
    number: Option<u64>,
}

impl Line {
    /// Registers a connection that may ask for a turn.
    pub(crate) fn arrive(&self, origin: Origin) -> Arrival {
        let number = match origin {
            Origin::Proxied => None,
            Origin::Operator => {
                let mut arrivals = self.arrivals();
                let number = arrivals.next;
                arrivals.next += 1;
                arrivals.open.insert(number, Instant::now());
                Some(number)
            }
        };
        Arrival {
            line: self.clone(),
            number,
        }
    }

    /// Joins the queue for the turn immediately, not when the future is first polled. The future is ready on the turn.
    fn join(&self) -> impl Future<Output = OwnedMutexGuard<()>> + Send + 'static {
        // A mutex queues its callers on their first poll. `unconstrained`, since tokio's budget may make that return
        // pending without queueing.
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
        self.0.arrivals.lock()
    }

    /// Counts a change until the returned value is dropped.
    fn count(&self, count: Count) -> Counted {
        *count.of(&mut self.arrivals()) += 1;
        Counted {
            line: self.clone(),
            count,
        }
    }

    /// The turn for a proxied change, if no operator has it, waits for it or may be about to ask for it. Otherwise the
    /// time at which to try again, unless `changed` is notified before.
    fn proxied_turn(&self) -> Result<Turn, Option<Instant>> {
        // Locked to the end, so that no operator can ask in between.
        let mut arrivals = self.arrivals();
        if arrivals.operators > 0 {
            return Err(None);
        }
        if let Some(until) = arrivals.wait_until(u64::MAX) {
            return Err(Some(until));
        }
        let guard = Arc::clone(&self.0.turn).try_lock_owned();
        let guard = guard.map_err(|_| None)?;
        // Counted although it does not wait, since the end of the count wakes the next one.
        arrivals.proxied += 1;
        Ok(Turn {
            _guard: guard,
            _counted: Counted {
                line: self.clone(),
                count: Count::Proxied,
            },
        })
    }
}

impl Arrivals {
    /// Until when to wait for the connections before `number`. `None` without any.
    fn wait_until(&self, number: u64) -> Option<Instant> {
        let (_, last) = self.open.range(..number).next_back()?;
        let until = *last + ON_THE_WAY;
        (until > Instant::now()).then_some(until)
    }
}

impl Arrival {
    pub(crate) fn origin(&self) -> Origin {
        match self.number {
            Some(_) => Origin::Operator,
            None => Origin::Proxied,
        }
    }

    /// Waits for the turn. A proxied arrival waits for `proxied_wait` at most.
    pub(crate) async fn turn(self, proxied_wait: Duration) -> Result<Turn, Busy> {
        match self.number {
            Some(number) => Ok(self.operators_turn(number).await),
            None => self.turn_after_operators(proxied_wait).await,
        }
    }

    async fn operators_turn(self, number: u64) -> Turn {
        let counted = self.line.count(Count::Operator);
        loop {
            let mut changed = pin!(self.line.0.changed.notified());
            changed.as_mut().enable();
            let until = self.line.arrivals().wait_until(number);
            let Some(until) = until else {
                break;
            };
            // Checked again after a notification and after the timeout.
            _ = timeout_at(until, changed).await;
        }
        let place = self.line.join();
        drop(self);
        Turn {
            _guard: place.await,
            _counted: counted,
        }
    }

    async fn turn_after_operators(self, wait: Duration) -> Result<Turn, Busy> {
        let waiting = self.line.count(Count::Proxied);
        if self.line.arrivals().proxied > PROXIED_WAITING {
            return Err(Busy);
        }
        let turn = async {
            let _first = self.line.0.first_proxied.lock().await;
            loop {
                let mut changed = pin!(self.line.0.changed.notified());
                changed.as_mut().enable();
                match self.line.proxied_turn() {
                    Ok(turn) => return turn,
                    Err(None) => changed.await,
                    Err(Some(until)) => _ = timeout_at(until, changed).await,
                }
            }
        };
        let turn = timeout(wait, turn).await.map_err(|_| Busy);
        drop(waiting);
        turn
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.line.arrivals().open.remove(&number);
            self.line.0.changed.notify_waiters();
        }
    }
}

/// Which of the two counts.
#[derive(Clone, Copy, Debug)]
enum Count {
    Operator,
    Proxied,
}

impl Count {
    fn of(self, arrivals: &mut Arrivals) -> &mut usize {
        match self {
            Self::Operator => &mut arrivals.operators,
            Self::Proxied => &mut arrivals.proxied,
        }
    }
}

#[derive(Debug)]
struct Counted {
    line: Line,
    count: Count,
}

impl Drop for Counted {
    fn drop(&mut self) {
        *self.count.of(&mut self.line.arrivals()) -= 1;
        self.line.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::{JoinHandle, yield_now};

    use super::*;

    /// Longer than anything here takes.
    const LONG: Duration = Duration::from_secs(60);

    impl Line {
        fn operator(&self) -> Arrival {
            self.arrive(Origin::Operator)
        }

        fn proxied(&self) -> Arrival {
            self.arrive(Origin::Proxied)
        }
    }

    /// Has the arrival ask for its turn.
    async fn ask(arrival: Arrival) -> JoinHandle<Result<Turn, Busy>> {
        let asks = tokio::spawn(arrival.turn(LONG));
        for _ in 0..5 {
            yield_now().await;
        }
        asks
    }

    #[tokio::test]
    async fn turns_come_in_the_order_of_places_whichever_is_awaited_first() {
        let line = Line::default();
        let first = line.join();
        let second = line.join();
        let third = tokio::spawn(line.join());
        // A place that is not awaited yet is kept all the same.
        yield_now().await;
        assert!(!third.is_finished());
        drop(first.await);
        yield_now().await;
        assert!(!third.is_finished());
        drop(second.await);
        drop(third.await.unwrap());
    }

    #[tokio::test]
    async fn a_place_that_is_given_up_delays_no_others() {
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
        let [first, second, third, fourth] = [(); 4].map(|()| line.operator());
        let fourth = ask(fourth).await;
        let third = ask(third).await;
        assert!(!third.is_finished() && !fourth.is_finished());
        // One asks for nothing, the other takes its turn.
        drop(first);
        let turn = second.turn(LONG).await.unwrap();
        yield_now().await;
        drop(turn);
        let turn = third.await.unwrap();
        yield_now().await;
        assert!(!fourth.is_finished());
        drop(turn);
        drop(fourth.await.unwrap());
    }

    #[tokio::test]
    async fn a_slow_arrival_does_not_delay_later_ones_for_long() {
        let line = Line::default();
        let slow = line.operator();
        drop(line.operator().turn(LONG).await);
        // It has been waited for once.
        let begun = Instant::now();
        drop(line.operator().turn(LONG).await);
        assert!(begun.elapsed() < ON_THE_WAY);
        drop(slow.turn(LONG).await);
    }

    #[tokio::test]
    async fn a_proxied_change_does_not_go_before_an_operator_that_is_held_back() {
        let line = Line::default();
        let slow = line.operator();
        let operator = ask(line.operator()).await;
        let proxied = ask(line.proxied()).await;
        assert!(!operator.is_finished() && !proxied.is_finished());
        drop(slow);
        let turn = operator.await.unwrap();
        yield_now().await;
        assert!(!proxied.is_finished());
        drop(turn);
        proxied.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_proxied_change_waits_for_operators_that_have_just_connected() {
        let line = Line::default();
        let operator = line.operator();
        let connected = Instant::now();
        let proxied = ask(line.proxied()).await;
        // On a slow machine its time may have come by now.
        assert!(!proxied.is_finished() || connected.elapsed() >= ON_THE_WAY);
        // One that asks for nothing is not waited for for long.
        drop(proxied.await.unwrap().unwrap());
        assert!(connected.elapsed() >= ON_THE_WAY);
        drop(operator);
    }

    #[tokio::test]
    async fn at_most_one_proxied_change_is_before_an_operators() {
        let line = Line::default();
        let first = line.proxied().turn(LONG).await.unwrap();
        let others = [ask(line.proxied()).await, ask(line.proxied()).await];
        let operator = ask(line.operator()).await;
        drop(first);
        let turn = operator.await.unwrap();
        yield_now().await;
        assert!(!others.iter().any(JoinHandle::is_finished));
        drop(turn);
        for other in others {
            drop(other.await.unwrap().unwrap());
        }
    }

    #[tokio::test]
    async fn proxied_changes_wait_for_a_bounded_time_and_in_a_bounded_number() {
        let line = Line::default();
        let turn = line.operator().turn(LONG).await.unwrap();
        let short = Duration::from_millis(10);
        assert_eq!(line.proxied().turn(short).await.unwrap_err(), Busy);
        let mut waiting = Vec::new();
        for _ in 0..PROXIED_WAITING {
            waiting.push(ask(line.proxied()).await);
        }
        assert_eq!(line.proxied().turn(LONG).await.unwrap_err(), Busy);
        drop(turn);
        for proxied in waiting {
            drop(proxied.await.unwrap().unwrap());
        }
        drop(line.proxied().turn(LONG).await.unwrap());
    }
}
