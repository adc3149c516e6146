//! What is in force.

use std::collections::HashMap;
use std::sync::Arc;

use engine::Application;
use server::{AccessLog, Metrics, Settings, Target};

use super::convert;
use crate::routes;
use crate::tls::Tls;
use crate::upstreams::Upstreams;

/// What is in force.
#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) settings: config::Settings,
    pub(super) access_log: Option<Noted>,
    pub(super) listeners: Vec<config::Listener>,
    pub(super) routes: Vec<config::Route>,
    pub(super) upstreams: Upstreams,
    pub(super) applications: Applications,
    pub(super) tls: Tls,
}

/// An access log, with the configuration that it was opened by.
#[derive(Clone)]
pub(super) struct Noted {
    pub(super) config: config::AccessLog,
    pub(super) log: AccessLog,
}

pub(super) type Applications = HashMap<String, Loaded>;

/// An application with the configuration it was loaded by.
#[derive(Clone)]
pub(super) struct Loaded {
    pub(super) config: config::Application,
    /// `None` if it could not be loaded.
    pub(super) application: Option<Application>,
}

impl State {
    pub(super) fn settings(&self) -> Arc<Settings> {
        let access_log = self.access_log.as_ref().map(|noted| noted.log.clone());
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
