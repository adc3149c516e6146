//! Lines that were lost, and when that is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;

/// How long losses are gathered before the log tells of them, so that what is lost for being too
/// much does not fill the log after all.
const GATHER: Duration = Duration::from_secs(1);

/// Counts lost lines, and has their number told once a second for as long as there are new ones. What
/// is left is told when this is dropped.
pub(crate) struct Losses(Arc<Inner>);

struct Inner {
    lines: AtomicU64,
    /// Whether a task waits to tell.
    gathers: AtomicBool,
    tell: Box<dyn Fn(u64) + Send + Sync>,
}

impl Losses {
    pub(crate) fn new(tell: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            lines: AtomicU64::new(0),
            gathers: AtomicBool::new(false),
            tell: Box::new(tell),
        }))
    }

    /// Counts one line.
    pub(crate) fn add(&self) {
        self.add_all(1);
    }

    /// Counts so many lines.
    pub(crate) fn add_all(&self, lines: u64) {
        self.0.lines.fetch_add(lines, Ordering::Relaxed);
        if self.0.gathers.swap(true, Ordering::AcqRel) {
            return;
        }
        // One task at a time, and none while nothing is lost.
        let Ok(runtime) = Handle::try_current() else {
            self.0.gathers.store(false, Ordering::Release);
            return;
        };
        let inner = Arc::downgrade(&self.0);
        runtime.spawn(async move {
            tokio::time::sleep(GATHER).await;
            if let Some(inner) = inner.upgrade() {
                // Before the number is taken: whoever counts behind that starts the next task.
                inner.gathers.store(false, Ordering::Release);
                inner.tell();
            }
        });
    }
}

#[cfg(test)]
impl Losses {
    /// Those that have not been told of.
    pub(crate) fn count(&self) -> u64 {
        self.0.lines.load(Ordering::Relaxed)
    }
}

impl Drop for Losses {
    fn drop(&mut self) {
        self.0.tell();
    }
}

impl Inner {
    fn tell(&self) {
        let lines = self.lines.swap(0, Ordering::AcqRel);
        if lines > 0 {
            (self.tell)(lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn many_losses_are_told_once_and_the_rest_at_the_end() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let losses = Losses::new({
            let told = Arc::clone(&told);
            move |lines| told.lock().unwrap().push(lines)
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            for _ in 0..100 {
                losses.add();
            }
            while told.lock().unwrap().is_empty() {
                tokio::time::sleep(GATHER / 4).await;
            }
            assert_eq!(*told.lock().unwrap(), [100]);
            losses.add();
        });
        // The runtime ends before the task does.
        drop(runtime);
        drop(losses);
        assert_eq!(*told.lock().unwrap(), [100, 1]);
    }

    #[test]
    fn without_a_runtime_and_without_losses_nothing_fails() {
        let told = Arc::new(AtomicU64::new(0));
        let count = || {
            let told = Arc::clone(&told);
            Losses::new(move |lines| {
                told.fetch_add(lines, Ordering::Relaxed);
            })
        };
        drop(count());
        assert_eq!(told.load(Ordering::Relaxed), 0);
        let losses = count();
        losses.add();
        losses.add();
        drop(losses);
        assert_eq!(told.load(Ordering::Relaxed), 2);
    }
}
