//! The rate limit of the log: how many lines per second clients and guests can cause. Does not limit what guests print
//! (`guest_output`), which has a limit in bytes.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata};
use tracing_subscriber::layer::{Context, Filter};

use crate::bucket::TokenBucket;
use crate::limits::Severity;
use crate::text::BoundedText;

/// Lines that pass at once, after a pause of `BURST / PER_SECOND` seconds.
const BURST: u32 = 200;

/// Lines that pass per second, in the long run.
const PER_SECOND: u32 = 20;

/// How long suppressed lines are counted before the log has their number.
const REPORT_AFTER: Duration = Duration::from_secs(1);

/// Bytes of the example of suppressed lines.
const MAX_EXAMPLE: usize = 256;

/// Beyond this number, rates that allow a full burst are dropped: a new one would admit the same.
const MAX_IDLE_RATES: usize = 4096;

/// A filter that lets `PER_SECOND` events pass: for each application and level those that name an application, and
/// for each place in the code all others. How many were suppressed is logged once per second, at their level.
///
/// Events below `info` all pass, since the operator has asked for them, and so do those of the targets given to
/// [`new`](Self::new). Clones share the rates.
#[derive(Clone)]
pub struct RateLimit(Arc<SharedRates>);

struct SharedRates {
    /// Targets whose events all pass.
    unlimited: &'static [&'static str],
    hasher: RandomState,
    rates: Mutex<HashMap<Key, Rate>>,
    /// Has a lock of its own, since a thread that panics may hold the one of `rates`. Nothing panics while this one
    /// is held.
    panics: Mutex<Rate>,
    /// Panics were suppressed, and no task is to report them yet.
    has_suppressed_panics: AtomicBool,
}

/// Events with the same key share a rate.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Application { name_hash: u64, level: Level },
    Callsite(Identifier),
    Panic,
}

#[derive(Default)]
struct Rate {
    bucket: TokenBucket,
    suppressed: Option<Suppressed>,
}

/// Suppressed lines that have not been reported.
struct Suppressed {
    lines: u64,
    level: Level,
    application: Option<String>,
    example: String,
    /// Whether a task will report them.
    has_reporter: bool,
}

impl RateLimit {
    /// Limits all events but those of the `unlimited` targets and of modules below them, which are bounded by other
    /// means or caused by the operator only.
    #[must_use]
    pub fn new(unlimited: &'static [&'static str]) -> Self {
        Self(Arc::new(SharedRates {
            unlimited,
            hasher: RandomState::new(),
            rates: Mutex::default(),
            panics: Mutex::default(),
            has_suppressed_panics: AtomicBool::new(false),
        }))
    }

    /// Logs how many lines were suppressed since the last report, immediately. For the end of the process.
    pub fn report(&self) {
        let mut suppressed: Vec<Suppressed> = {
            let mut rates = self.0.rates();
            rates
                .values_mut()
                .filter_map(|it| it.suppressed.take())
                .collect()
        };
        suppressed.extend(self.0.panics().suppressed.take());
        suppressed.iter().for_each(Suppressed::log);
    }

    /// Whether a panic may be logged, for use in a panic hook. Panics over the limit are counted and reported like
    /// other lines.
    #[must_use]
    pub fn admits_panic(&self) -> bool {
        let mut rate = self.0.panics();
        if rate.admits(Instant::now()) {
            return true;
        }
        rate.suppressed.get_or_insert_with(Suppressed::panics).lines += 1;
        // A task cannot be spawned from here: the runtime may be what panics.
        self.0.has_suppressed_panics.store(true, Ordering::Relaxed);
        false
    }

    fn admits(&self, event: &Event<'_>, now: Instant) -> bool {
        let metadata = event.metadata();
        let suppressed_panics = &self.0.has_suppressed_panics;
        if suppressed_panics.load(Ordering::Relaxed) && self.report_later(Key::Panic) {
            suppressed_panics.store(false, Ordering::Relaxed);
        }
        if *metadata.level() > Level::INFO || self.0.is_unlimited(metadata.target()) {
            return true;
        }
        let mut application = ApplicationVisitor {
            hasher: &self.0.hasher,
            name_hash: None,
        };
        event.record(&mut application);
        let key = match application.name_hash {
            Some(name_hash) => Key::Application {
                name_hash,
                level: *metadata.level(),
            },
            None => Key::Callsite(metadata.callsite()),
        };
        let mut rates = self.0.rates();
        if rates.len() >= MAX_IDLE_RATES && !rates.contains_key(&key) {
            rates.retain(|_, rate| !rate.bucket.is_full(now) || rate.suppressed.is_some());
        }
        let rate = rates.entry(key.clone()).or_default();
        if rate.admits(now) {
            return true;
        }
        match &mut rate.suppressed {
            Some(suppressed) => self.omit(suppressed, key),
            None => {
                // Formatting may take long. Other threads do not wait for it.
                drop(rates);
                let example = Suppressed::of(event);
                let mut rates = self.0.rates();
                let rate = rates.entry(key.clone()).or_default();
                self.omit(rate.suppressed.get_or_insert(example), key);
            }
        }
        false
    }

    fn omit(&self, suppressed: &mut Suppressed, key: Key) {
        suppressed.lines += 1;
        if !suppressed.has_reporter {
            suppressed.has_reporter = self.report_later(key);
        }
    }

    /// Has a task report those of `key`, if there is a runtime to run it. They cannot be logged from here: this runs
    /// while another event is being logged, and `tracing` drops events that are nested.
    fn report_later(&self, key: Key) -> bool {
        let Ok(runtime) = Handle::try_current() else {
            return false;
        };
        let limit = self.clone();
        runtime.spawn(async move {
            tokio::time::sleep(REPORT_AFTER).await;
            let suppressed = match key {
                Key::Panic => limit.0.panics().suppressed.take(),
                _ => {
                    let mut rates = limit.0.rates();
                    rates.get_mut(&key).and_then(|rate| rate.suppressed.take())
                }
            };
            if let Some(suppressed) = suppressed {
                suppressed.log();
            }
        });
        true
    }
}

impl<S> Filter<S> for RateLimit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn callsite_enabled(&self, _: &'static Metadata<'static>) -> Interest {
        // Not `always`: then `enabled` is not called, and `tracing-subscriber` does not expect a filter to
        // disable the event later.
        Interest::sometimes()
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.admits(event, Instant::now())
    }

    // Without a hint from this filter, the hint of a filter that is combined with it would not be used either.
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }
}

impl SharedRates {
    fn is_unlimited(&self, target: &str) -> bool {
        let is_within = |module: &&str| {
            let below = target.strip_prefix(*module);
            below.is_some_and(|below| below.is_empty() || below.starts_with("::"))
        };
        target == OWN_TARGET || self.unlimited.iter().any(is_within)
    }

    fn rates(&self) -> MutexGuard<'_, HashMap<Key, Rate>> {
        self.rates.lock()
    }

    fn panics(&self) -> MutexGuard<'_, Rate> {
        self.panics.lock()
    }
}

impl Rate {
    fn admits(&mut self, now: Instant) -> bool {
        let line = Duration::from_secs(1) / PER_SECOND;
        self.bucket.admits(now, line, line * BURST)
    }
}

const OWN_TARGET: &str = "unit_log::rate_limit";

/// Logs a report at the level of the lines it is about, so that it appears whenever they would.
macro_rules! report {
    ($level:expr, $($event:tt)*) => {
        match $level {
            Level::ERROR => tracing::error!(target: OWN_TARGET, $($event)*),
            Level::WARN => tracing::warn!(target: OWN_TARGET, $($event)*),
            // Events below are not limited.
            _ => tracing::info!(target: OWN_TARGET, $($event)*),
        }
    };
}

impl Suppressed {
    fn panics() -> Self {
        Self {
            lines: 0,
            level: Level::ERROR,
            application: None,
            example: "a panic".to_owned(),
            has_reporter: false,
        }
    }

    fn of(event: &Event<'_>) -> Self {
        let mut texts = TextVisitor::default();
        event.record(&mut texts);
        Self {
            lines: 0,
            level: *event.metadata().level(),
            application: texts.application,
            example: texts.message,
            has_reporter: false,
        }
    }

    fn log(&self) {
        let Self { lines, example, .. } = self;
        let level = Severity::from(self.level).name;
        match &self.application {
            Some(application) => report!(
                self.level,
                application,
                "{lines} [{level}] lines of this application suppressed by the log rate limit \
                 ({PER_SECOND} per second, bursts of {BURST}), for example: {example}"
            ),
            None => report!(
                self.level,
                "{lines} [{level}] lines of this kind suppressed by the log rate limit \
                 ({PER_SECOND} per second, bursts of {BURST}), for example: {example}"
            ),
        }
    }
}

/// Reads the application of an event. It formats nothing, so that suppressed events cost little.
struct ApplicationVisitor<'a> {
    hasher: &'a RandomState,
    name_hash: Option<u64>,
}

impl Visit for ApplicationVisitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "application" {
            self.name_hash = Some(self.hasher.hash_one(value));
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

#[derive(Default)]
struct TextVisitor {
    application: Option<String>,
    message: String,
}

impl Visit for TextVisitor {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "application" => self.application = Some(shortened(value)),
            "message" => self.message = shortened(value),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = shortened(format_args!("{value:?}"));
        }
    }
}

fn shortened(text: impl fmt::Display) -> String {
    BoundedText::of(MAX_EXAMPLE, text).to_string()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io;

    use tracing_subscriber::Layer as _;
    use tracing_subscriber::filter::{FilterExt as _, Targets};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::Lines;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
    }

    /// A log in memory.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().write(line)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        fn lines(&self, word: &str) -> Vec<String> {
            let text = String::from_utf8(self.0.lock().clone()).unwrap();
            let lines = text.lines().filter(|line| line.contains(word));
            lines.map(str::to_owned).collect()
        }
    }

    /// Runs `work` with a limited log.
    fn log(limit: &RateLimit, work: impl FnOnce(&Written)) {
        log_with(Targets::new().with_default(Level::DEBUG), limit, work);
    }

    /// The same, of these targets only.
    fn log_with(targets: Targets, limit: &RateLimit, work: impl FnOnce(&Written)) {
        let written = Written::default();
        let writer = written.clone();
        let filter = targets.and(limit.clone());
        let layer = tracing_subscriber::fmt::layer()
            .event_format(Lines::Daemon)
            .with_writer(move || writer.clone())
            .with_filter(filter);
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || work(&written));
    }

    fn fail(application: &str, times: u32) {
        for number in 0..times {
            tracing::error!(application, "failure {number}");
        }
    }

    #[test]
    fn a_rate_limit_holds_for_each_application_and_level() {
        log(&RateLimit::new(&[]), |log| {
            fail("a", 1000);
            fail("b", 1);
            tracing::warn!(application = "a", "a warning");
            let of_a = log.lines("application \"a\" failure").len();
            assert!((200..300).contains(&of_a), "{of_a}");
            assert_eq!(log.lines("application \"b\" failure 0").len(), 1);
            assert_eq!(log.lines("a warning").len(), 1);
        });
    }

    #[test]
    fn a_rate_limit_holds_for_each_place_in_the_code() {
        log(&RateLimit::new(&[]), |log| {
            for number in 0..1000 {
                tracing::warn!("refusal {number}");
            }
            tracing::warn!("another");
            let refusals = log.lines("refusal").len();
            assert!((200..300).contains(&refusals), "{refusals}");
            assert_eq!(log.lines("another").len(), 1);
        });
    }

    #[test]
    fn the_rate_limit_reports_once_per_second_how_many_lines_it_suppressed() {
        let runtime = runtime();
        log(&RateLimit::new(&[]), |log| {
            runtime.block_on(async {
                fail("a", 1000);
                let written = log.lines("] application \"a\" failure").len();
                assert_eq!(log.lines("suppressed"), [""; 0]);
                tokio::time::sleep(REPORT_AFTER * 2).await;
                let reports = log.lines("suppressed");
                let suppressed = 1000 - written;
                let report = format!(
                    "[error] application \"a\" {suppressed} [error] lines of this application suppressed by the log \
                     rate limit (20 per second, bursts of 200), for example: failure {written}"
                );
                assert!(reports[0].contains(&report), "{reports:?}");
                assert_eq!(reports.len(), 1);
            });
        });
    }

    #[test]
    fn suppressed_lines_are_reported_at_the_end_without_a_runtime() {
        let limit = RateLimit::new(&[]);
        log(&limit, |log| {
            fail("a", 1000);
            limit.report();
            limit.report();
            assert_eq!(log.lines("[error] lines").len(), 1);
        });
    }

    #[test]
    fn suppressed_lines_are_reported_at_their_own_level() {
        let levels = [
            (Level::ERROR, "error"),
            (Level::WARN, "warn"),
            (Level::INFO, "info"),
        ];
        for (level, _) in levels {
            let limit = RateLimit::new(&[]);
            log_with(crate::targets(level), &limit, |log| {
                for number in 0..1000 {
                    tracing::error!(target: "engine", "failure {number}");
                    tracing::warn!(target: "engine", "warning {number}");
                    tracing::info!(target: "engine", "request {number}");
                }
                limit.report();
                for (reported, name) in levels {
                    let reports = log.lines(&format!("[{name}] lines"));
                    let own_level = format!("[{name}] ");
                    assert_eq!(reports.len(), usize::from(reported <= level), "{reports:?}");
                    assert!(
                        reports.iter().all(|it| it.contains(&own_level)),
                        "{reports:?}"
                    );
                }
            });
        }
    }

    #[test]
    fn a_panic_is_logged_while_another_thread_holds_the_lock_of_the_rates() {
        let limit = RateLimit::new(&[]);
        let rates = limit.0.rates();
        let other = limit.clone();
        assert!(
            std::thread::spawn(move || other.admits_panic())
                .join()
                .unwrap()
        );
        // And while the thread that panics does.
        assert!(limit.admits_panic());
        drop(rates);
    }

    #[test]
    fn suppressed_panics_are_counted_and_reported() {
        let runtime = runtime();
        let limit = RateLimit::new(&[]);
        log(&limit, |log| {
            runtime.block_on(async {
                let admitted = (0..1000).filter(|_| limit.admits_panic()).count();
                assert!((200..300).contains(&admitted), "{admitted}");
                // The next line of any kind has a task report them.
                tracing::debug!("another line");
                tokio::time::sleep(REPORT_AFTER * 2).await;
                let report = format!(
                    "[error] {} [error] lines of this kind suppressed by the log rate limit \
                     (20 per second, bursts of 200), for example: a panic",
                    1000 - admitted
                );
                assert!(log.lines("suppressed")[0].contains(&report), "{report}");
            });
            while limit.admits_panic() {}
            limit.report();
            assert_eq!(log.lines("[error] 1 [error] lines").len(), 1);
        });
    }

    #[test]
    fn no_thread_waits_while_a_suppressed_line_is_formatted() {
        struct Looks<'a>(&'a RateLimit, &'a Cell<u32>);
        impl fmt::Display for Looks<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Self(limit, texts) = self;
                texts.set(texts.get() + 1);
                assert!(limit.0.rates.try_lock().is_some());
                f.write_str("text")
            }
        }
        let (limit, texts) = (RateLimit::new(&[]), Cell::new(0));
        log(&limit, |log| {
            for _ in 0..1000 {
                tracing::error!("{}", Looks(&limit, &texts));
            }
            // One text for all suppressed lines.
            assert_eq!(texts.get() as usize, log.lines("text").len() + 1);
        });
    }

    #[test]
    fn unlimited_modules_and_debug_lines_pass_the_rate_limit() {
        log(&RateLimit::new(&["chosen"]), |log| {
            for _ in 0..1000 {
                tracing::info!(target: "chosen::by_the_operator", "chosen");
                tracing::debug!("asked for");
                tracing::info!(target: "chosen_not", "limited");
            }
            assert_eq!(log.lines("] chosen").len(), 1000);
            assert_eq!(log.lines("asked for").len(), 1000);
            assert!(log.lines("limited").len() < 300);
        });
    }

    #[test]
    fn a_rate_limit_recovers_with_time_up_to_a_burst() {
        let now = Instant::now();
        let mut rate = Rate::default();
        let mut admitted = |now| (0..1000).filter(|_| rate.admits(now)).count();
        assert_eq!(admitted(now), 200);
        assert_eq!(admitted(now + Duration::from_secs(1)), 20);
        assert_eq!(admitted(now + Duration::from_secs(3600)), 200);
    }
}
