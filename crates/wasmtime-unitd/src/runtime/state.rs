//! The state that is in force: the configuration together with what was opened and loaded for it.

use std::collections::HashMap;
use std::sync::Arc;

use config_files::Stamp;
use engine::Application;
use server::{AccessLog, Metrics, Settings, Target};

use super::convert;
use crate::routes;
use crate::tls::ListenerTls;
use crate::upstreams::Upstreams;

/// Immutable: a change replaces it as a whole.
#[derive(Clone, Default)]
pub(super) struct ActiveState {
    pub(super) settings: config::Settings,
    pub(super) access_log: Option<OpenAccessLog>,
    pub(super) listeners: Vec<config::Listener>,
    pub(super) routes: Vec<config::Route>,
    pub(super) upstreams: Upstreams,
    pub(super) applications: Applications,
    pub(super) tls: ListenerTls,
}

/// An access log and the configuration that it was opened for.
#[derive(Clone)]
pub(super) struct OpenAccessLog {
    pub(super) config: config::AccessLog,
    pub(super) log: AccessLog,
}

pub(super) type Applications = HashMap<String, LoadedApplication>;

/// An application and the configuration that it was loaded for.
#[derive(Clone)]
pub(super) struct LoadedApplication {
    pub(super) config: config::Application,
    /// `None` if it could not be loaded. Requests are answered with 503 then.
    pub(super) application: Option<Application>,
    /// The version of the component's file that was loaded, or that could not be.
    pub(super) stamp: Stamp,
}

impl ActiveState {
    pub(super) fn settings(&self) -> Arc<Settings> {
        let access_log = self.access_log.as_ref().map(|open| open.log.clone());
        Arc::new(convert::settings(&self.settings, access_log))
    }

    /// The target of each listener.
    pub(super) fn targets(&self, metrics: &Metrics) -> impl Fn(&config::Listener) -> Target {
        let application = |name: &str| self.applications.get(name)?.application.clone();
        let names = self.applications.keys().cloned();
        let table = routes::table(
            &self.routes,
            &Arc::new(convert::mime_types(&self.settings)),
            &self.upstreams,
            metrics,
            application,
            names,
        );
        move |listener| {
            let upstreams = &self.upstreams;
            routes::target(
                &listener.pass,
                &self.routes,
                upstreams,
                metrics,
                &table,
                application,
            )
        }
    }
}
