use std::collections::HashMap;
use std::sync::Arc;

use engine::Application;
use proxy::Proxy;
use routing::{Destination, Template};

use crate::action::Action;
use crate::metrics::Metrics;

/// Routes, and all that a `pass` may name. Nothing of it changes; a new configuration has a new one.
///
/// Cloning is cheap.
#[derive(Clone)]
pub struct Table(Arc<Inner>);

struct Inner {
    routes: Vec<Steps>,
    /// Where a route of this name is among them; that without one is `None`.
    by_name: HashMap<Option<String>, usize>,
    applications: HashMap<String, Option<Application>>,
    upstreams: HashMap<String, Proxy>,
}

/// An array of steps.
pub struct Steps {
    /// As `pass` calls it; `None` for the one that is all of `routes`.
    pub name: Option<String>,
    /// The steps.
    pub route: routing::Route<Action>,
}

/// Who answers instead.
#[derive(Clone)]
pub enum Pass {
    /// An application; `None` is one that is not served for now, for which the answer is 503.
    Application(Option<Application>),
    /// Other servers.
    Upstream(Proxy),
    /// The server's own counters.
    Metrics(Metrics),
    /// The steps at this index of the [`Table`]; 404 where there are none.
    Steps(usize),
    /// What the template names once it is expanded, for each request anew; 404 where that is
    /// nothing.
    Variable(Template),
}

impl Table {
    /// The table with these routes, these applications, some of which may not be served for now, and
    /// these upstreams.
    #[must_use]
    pub fn new(
        routes: Vec<Steps>,
        applications: impl IntoIterator<Item = (String, Option<Application>)>,
        upstreams: impl IntoIterator<Item = (String, Proxy)>,
    ) -> Self {
        let indices = routes.iter().enumerate();
        Self(Arc::new(Inner {
            by_name: indices
                .map(|(index, steps)| (steps.name.clone(), index))
                .collect(),
            routes,
            applications: applications.into_iter().collect(),
            upstreams: upstreams.into_iter().collect(),
        }))
    }

    pub(crate) fn steps(&self, index: usize) -> Option<&Steps> {
        self.0.routes.get(index)
    }

    /// What an expanded `pass` names.
    pub(crate) fn find(&self, pass: &[u8]) -> Option<Pass> {
        match Destination::parse(pass)? {
            Destination::Application { name, target: None } => {
                let application = self.0.applications.get(&name)?;
                Some(Pass::Application(application.clone()))
            }
            Destination::Routes(name) => self.0.by_name.get(&name).copied().map(Pass::Steps),
            Destination::Upstream(name) => self.0.upstreams.get(&name).cloned().map(Pass::Upstream),
            // What variables say is the client's choice, and counters are not for every client.
            Destination::Metrics => None,
            Destination::Application { .. } | Destination::Nothing => None,
        }
    }
}
