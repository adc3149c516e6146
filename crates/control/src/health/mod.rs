//! Whether the process works (live), and whether it is ready for clients' requests. Who finds a problem reports it
//! here; the checks themselves are HTTP requests, which `api` and `health_server` answer.

mod threads;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use config::{Object, Value};
use tokio::runtime::Handle;
use tokio::sync::watch;
use unit_log::BoundedText;

use threads::ServingThreads;

/// Bytes of one problem's text. Names from a configuration may be long.
const MAX_PROBLEM: usize = 1024;

/// The liveness and the readiness of a server. Clones share them.
///
/// ```
/// let health = control::Health::default();
/// assert!(!health.ready().is_ok(), "nothing is ready at its start");
/// health.set_problem(control::Health::CONFIGURATION, None::<&str>);
/// health.set_problem("disk", Some("the disk is full"));
/// assert_eq!(health.ready().reason(), Some("the disk is full"));
/// health.set_problem("disk", None::<&str>);
/// assert!(health.ready().is_ok());
/// ```
#[derive(Clone, Debug)]
pub struct Health(Arc<HealthState>);

#[derive(Debug)]
struct HealthState {
    /// Why the server is not ready, by who reports it.
    problems: watch::Sender<Problems>,
    threads: ServingThreads,
}

/// By key.
type Problems = BTreeMap<&'static str, Problem>;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Problem {
    text: String,
    /// Whether the server can serve clients all the same.
    is_ready: bool,
}

/// The readiness of a server, as it changes.
#[derive(Debug)]
pub struct ReadinessChanges(watch::Receiver<Problems>);

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthReport {
    is_ok: bool,
    status: &'static str,
    reason: Option<String>,
}

impl Health {
    /// The key of the problem that every server starts with: no configuration is in force.
    pub const CONFIGURATION: &str = "configuration";

    /// A server that is not ready yet. It is live while each of `threads`, the runtimes that serve clients, runs its
    /// tasks.
    #[must_use]
    pub fn new(threads: Vec<Handle>) -> Self {
        let starting = "starting: the configuration is not in force yet".to_owned();
        Self(Arc::new(HealthState {
            problems: watch::Sender::new(
                [(Self::CONFIGURATION, Problem::new(&starting, false))].into(),
            ),
            threads: ServingThreads::new(threads),
        }))
    }

    /// Sets or removes the problem of this key. While there is any problem, the server is not ready. Everyone who can
    /// reach a socket of the checks can read the text, of which the first 1024 bytes are kept.
    pub fn set_problem(&self, key: &'static str, problem: Option<impl fmt::Display>) {
        self.set_problems([(key, problem.map(|text| text.to_string()))]);
    }

    /// Sets or removes several problems at once: when one replaces another, the server is not ready for a moment.
    pub fn set_problems<const N: usize>(&self, changes: [(&'static str, Option<String>); N]) {
        self.set(changes, false);
    }

    /// Sets or removes a problem that is shown with the readiness, but does not end it: an orchestrator must not take
    /// a server out of service that serves clients.
    pub fn set_warning(&self, key: &'static str, problem: Option<String>) {
        self.set([(key, problem)], true);
    }

    fn set<const N: usize>(&self, changes: [(&'static str, Option<String>); N], is_ready: bool) {
        self.0.problems.send_if_modified(|problems| {
            let mut is_new = false;
            for (key, problem) in changes {
                let problem = problem.map(|text| Problem::new(&text, is_ready));
                is_new |= problems.get(key) != problem.as_ref();
                match problem {
                    Some(problem) => problems.insert(key, problem),
                    None => problems.remove(key),
                };
            }
            is_new
        });
    }

    /// Whether the server is ready for clients' requests, with all problems, in the order of their keys.
    #[must_use]
    pub fn ready(&self) -> HealthReport {
        HealthReport::of_problems(&self.0.problems.borrow())
    }

    /// The changes of [`ready`](Self::ready) from now on, after what it is now.
    #[must_use]
    pub fn readiness_changes(&self) -> ReadinessChanges {
        let mut problems = self.0.problems.subscribe();
        problems.mark_changed();
        ReadinessChanges(problems)
    }

    /// Whether the process works. Waits for its threads for half a second at most. A thread that has not run a task
    /// for 30 seconds, counted from an earlier call, makes it not live.
    pub async fn live(&self) -> HealthReport {
        match self.0.threads.stalled().await {
            None => HealthReport::ok("live"),
            Some(stall) => HealthReport::failed("not live", stall.to_string()),
        }
    }
}

/// Of a process without threads that serve clients.
impl Default for Health {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl ReadinessChanges {
    /// The readiness after the next change; of several changes, the last. `None` if the server is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<HealthReport> {
        self.0.changed().await.ok()?;
        Some(HealthReport::of_problems(&self.0.borrow_and_update()))
    }
}

impl Problem {
    fn new(text: &str, is_ready: bool) -> Self {
        Self {
            text: BoundedText::of(MAX_PROBLEM, text).to_string(),
            is_ready,
        }
    }
}

impl HealthReport {
    fn of_problems(problems: &Problems) -> Self {
        if problems.is_empty() {
            return Self::ok("ready");
        }
        let is_ready = problems.values().all(|problem| problem.is_ready);
        let problems: Vec<_> = problems.values().map(|it| it.text.as_str()).collect();
        Self {
            is_ok: is_ready,
            ..Self::failed(
                if is_ready { "ready" } else { "not ready" },
                problems.join("; "),
            )
        }
    }

    fn ok(status: &'static str) -> Self {
        Self {
            is_ok: true,
            status,
            reason: None,
        }
    }

    fn failed(status: &'static str, reason: String) -> Self {
        Self {
            is_ok: false,
            status,
            reason: Some(reason),
        }
    }

    /// Whether the check has succeeded.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.is_ok
    }

    /// Why it has failed, or a problem in spite of which it has succeeded.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    pub(crate) fn to_value(&self) -> Value {
        let mut object = Object::default();
        object.set("status", self.status.into());
        if let Some(reason) = &self.reason {
            object.set("reason", reason.as_str().into());
        }
        object.into()
    }
}
