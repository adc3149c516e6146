//! Returns memory to the system once a runtime is idle: what its threads' heaps kept from busier times.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How often a runtime checks how busy it was.
const INTERVAL: Duration = Duration::from_secs(5);

/// A runtime is idle if its threads together were busy for less than this part (1/n) of an interval.
const IDLE_SHARE: u32 = 10;

/// A runtime that was busy for less than this since it last returned memory has nothing to return.
const LEAST_WORK: Duration = Duration::from_millis(20);

/// Memory is returned in this many intervals after a runtime was busy, since other threads may still free memory of
/// its heaps.
const ROUNDS: u32 = 6;

/// How long a thread waits for the others.
const MEET: Duration = Duration::from_millis(10);

/// Returns free memory of the heaps of this runtime's threads whenever the runtime becomes idle. Has to be spawned on
/// it, since a heap can only be collected by its own thread.
pub(crate) async fn give_back() {
    give_back_every(INTERVAL).await;
}

async fn give_back_every(interval: Duration) {
    let metrics = Handle::current().metrics();
    let threads = metrics.num_workers();
    let own_work = Arc::new(AtomicU64::new(0));
    let mut timer = IdleTimer::new(interval);
    loop {
        sleep(interval).await;
        let busy: Duration = (0..threads)
            .map(|thread| metrics.worker_total_busy_duration(thread))
            .sum();
        let own = Duration::from_nanos(own_work.load(Ordering::Relaxed));
        if timer.is_due(busy.saturating_sub(own)) {
            on_each_thread(threads, &own_work, allocator::give_back).await;
        }
    }
}

/// Decides when a runtime returns memory.
struct IdleTimer {
    interval: Duration,
    /// The time for which it had been busy at the end of the last interval, and when it last gave memory back.
    before: Duration,
    given_back_at: Duration,
    /// For how many intervals more it gives memory back.
    rounds: u32,
}

impl IdleTimer {
    fn new(interval: Duration) -> Self {
        Self {
            interval,
            before: Duration::ZERO,
            given_back_at: Duration::ZERO,
            rounds: 0,
        }
    }

    /// Whether memory is to be given back at the end of one more interval, by which the runtime had been busy for
    /// `busy` in all, giving memory back not included.
    fn is_due(&mut self, busy: Duration) -> bool {
        let is_idle = busy.saturating_sub(self.before) < self.interval / IDLE_SHARE;
        self.before = busy;
        if busy.saturating_sub(self.given_back_at) >= LEAST_WORK {
            self.rounds = ROUNDS;
        }
        let is_due = is_idle && self.rounds > 0;
        if is_due {
            self.rounds -= 1;
            self.given_back_at = busy;
        }
        is_due
    }
}

/// Runs `work` on each of this runtime's threads, and adds the time that this took to `took`, in nanoseconds.
///
/// tokio cannot be asked for a certain thread. So there are as many tasks as threads, each of which keeps its thread
/// until all have begun. On a runtime that is not idle some thread may be left out.
async fn on_each_thread(threads: usize, took: &Arc<AtomicU64>, work: fn()) {
    let meeting = Arc::new(Meeting::new(threads));
    let mut tasks = JoinSet::new();
    for _ in 0..threads {
        let (meeting, took) = (Arc::clone(&meeting), Arc::clone(took));
        tasks.spawn(async move {
            let begun = Instant::now();
            work();
            meeting.wait();
            let nanoseconds = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            took.fetch_add(nanoseconds, Ordering::Relaxed);
        });
    }
    while tasks.join_next().await.is_some() {}
}

/// Threads that wait for each other, but not for long.
struct Meeting {
    missing: Mutex<usize>,
    all_are_there: Condvar,
}

impl Meeting {
    fn new(threads: usize) -> Self {
        Self {
            missing: Mutex::new(threads),
            all_are_there: Condvar::new(),
        }
    }

    fn wait(&self) {
        let mut missing = self.missing.lock();
        *missing -= 1;
        if *missing == 0 {
            self.all_are_there.notify_all();
        }
        let is_missing = |missing: &mut usize| *missing > 0;
        self.all_are_there
            .wait_while_for(&mut missing, is_missing, MEET);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs;
    use std::thread::{self, ThreadId};

    use tokio::runtime::{Builder, Runtime};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(60);

    #[test]
    fn memory_is_given_back_for_some_intervals_after_work_and_not_while_busy() {
        let mut timer = IdleTimer::new(INTERVAL);
        let mut due = |busy: u64| timer.is_due(Duration::from_millis(busy));
        // Nothing has been done yet, and then too little.
        assert!(!due(0) && !due(19));
        // Busy, and then idle.
        assert!(!due(5_000) && !due(10_000) && !due(10_500));
        let rounds = (0..20).filter(|_| due(10_500)).count();
        assert_eq!(rounds, ROUNDS as usize);
        // Further work starts it again, also in small steps.
        assert!(!due(10_510));
        assert!(due(10_520));
        assert!(due(10_539));
        let rounds = (0..20).filter(|_| due(10_540)).count();
        assert_eq!(rounds, ROUNDS as usize - 2);
    }

    fn runtime(threads: usize) -> Runtime {
        Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_time()
            .build()
            .unwrap()
    }

    #[test]
    fn work_for_each_thread_of_an_idle_runtime_is_done_on_each() {
        static RUN_ON: Mutex<Vec<ThreadId>> = Mutex::new(Vec::new());
        let runtime = runtime(4);
        let took = Arc::new(AtomicU64::new(0));
        let begun = Instant::now();
        // On a machine with other work the threads may not meet at once.
        loop {
            let work = || RUN_ON.lock().push(thread::current().id());
            let took = Arc::clone(&took);
            let all = runtime.spawn(async move { on_each_thread(4, &took, work).await });
            runtime.block_on(all).unwrap();
            let threads: HashSet<_> = RUN_ON.lock().drain(..).collect();
            if threads.len() == 4 {
                break;
            }
            assert!(begun.elapsed() < DEADLINE, "{threads:?}");
        }
        assert!(took.load(Ordering::Relaxed) > 0);
    }

    fn resident() -> usize {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<usize>().unwrap() << 10
    }

    #[test]
    fn memory_of_threads_that_have_become_idle_goes_back_to_the_system() {
        const PIECES: usize = 16_000;
        const SIZE: usize = 16 << 10;
        let runtime = runtime(2);
        runtime.spawn(give_back_every(Duration::from_millis(100)));
        let before = resident();
        // As responses: what one thread makes, another frees, while the first has nothing to do any more.
        let pieces: Vec<_> = (0..4)
            .map(|_| {
                runtime.spawn(async {
                    (0..PIECES / 4)
                        .map(|_| vec![1_u8; SIZE])
                        .collect::<Vec<_>>()
                })
            })
            .map(|pieces| runtime.block_on(pieces).unwrap())
            .collect();
        let full = resident();
        assert!(full > before + PIECES * SIZE / 2, "{before}, {full}");
        drop(pieces);
        let begun = Instant::now();
        while resident() > full - PIECES * SIZE / 4 * 3 {
            assert!(
                begun.elapsed() < DEADLINE,
                "{before}, {full}, {}",
                resident()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}
