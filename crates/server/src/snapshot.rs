//! What is in force: the listeners, what each of their requests is answered by, and the settings.

use std::collections::HashMap;
use std::sync::Arc;

use engine::Application;
use routing::Forwarded;
use rustls::ServerConfig;

use crate::access_log::AccessLog;
use crate::listener::{Listener, ListenerId};
use crate::routes::{Pass, Table};
use crate::settings::Settings;

/// What answers the requests of a listener.
#[derive(Clone)]
pub enum Target {
    /// A component.
    Application(Application),
    /// The steps of a table, from this pass on.
    Table(Table, Pass),
    /// Nothing, for now: the answer is 503.
    Unavailable,
}

/// One state of the whole server. A request sees one snapshot from end to end.
pub(crate) struct Snapshot {
    pub(crate) settings: Arc<Settings>,
    pub(crate) listeners: Vec<Arc<Listener>>,
    /// Removed listeners whose connections still finish their requests.
    pub(crate) closing: Vec<Arc<Listener>>,
    pub(crate) bindings: HashMap<ListenerId, Binding>,
}

/// What answers the requests of a listener, and how its connections are set up.
#[derive(Clone)]
pub(crate) struct Binding {
    pub(crate) target: Target,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// `None` if no proxy is trusted.
    pub(crate) forwarded: Option<Arc<[Forwarded]>>,
}

/// The part of a snapshot that one request needs.
pub(crate) struct SnapshotView {
    /// What answers; `None` where the listener is gone.
    pub(crate) target: Option<Target>,
    pub(crate) forwarded: Option<Arc<[Forwarded]>>,
    pub(crate) settings: Arc<Settings>,
}

impl SnapshotView {
    /// Whether routes or the access log need the request's [`RequestMeta`](crate::variables::RequestMeta).
    pub(crate) fn needs_meta(&self) -> bool {
        let is_routed = matches!(self.target, Some(Target::Table(..)));
        is_routed || self.settings.log_route || self.settings.access_log.is_some()
    }

    /// Whether routes or the access log use `$request_time`.
    pub(crate) fn times_requests(&self) -> bool {
        times_requests(self.target.as_ref(), &self.settings)
    }
}

pub(crate) fn times_requests(target: Option<&Target>, settings: &Settings) -> bool {
    let log = settings.access_log.as_ref();
    let is_routed = match target {
        Some(Target::Table(table, pass)) => table.times_requests(pass),
        Some(Target::Application(_) | Target::Unavailable) | None => false,
    };
    is_routed || log.is_some_and(AccessLog::uses_request_time)
}

impl Snapshot {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            listeners: Vec::new(),
            closing: Vec::new(),
            bindings: HashMap::new(),
        }
    }
}
