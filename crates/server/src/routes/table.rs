//! The table of routes, applications and upstreams. It is data: the `router` walks through it.

use std::collections::HashMap;
use std::sync::Arc;

use engine::Application;
use proxy::Proxy;
use routing::{Destination, VariableKind};

use super::action::Action;
use super::pass::Pass;

/// Routes, and all that a `pass` may name. Nothing of it changes; a new configuration has a new one.
///
/// Cloning is cheap.
#[derive(Clone)]
pub struct Table(Arc<TableParts>);

struct TableParts {
    routes: Vec<Steps>,
    /// Where a route of this name is among them; that without one is `None`.
    by_name: HashMap<Option<String>, usize>,
    applications: HashMap<String, Option<Application>>,
    upstreams: HashMap<String, Proxy>,
    /// Whether `$request_time` is anywhere in the routes.
    times_requests: bool,
}

/// An array of steps.
pub struct Steps {
    /// As `pass` calls it; `None` for the one that is all of `routes`.
    pub name: Option<String>,
    /// The steps.
    pub route: routing::Route<Action>,
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
        let times_requests = |steps: &Steps| steps.mentions(VariableKind::RequestTime);
        Self(Arc::new(TableParts {
            times_requests: routes.iter().any(times_requests),
            by_name: indices
                .map(|(index, steps)| (steps.name.clone(), index))
                .collect(),
            routes,
            applications: applications.into_iter().collect(),
            upstreams: upstreams.into_iter().collect(),
        }))
    }

    /// Whether `$request_time` may be expanded for requests that start at `pass`.
    pub(crate) fn times_requests(&self, pass: &Pass) -> bool {
        self.0.times_requests || pass.mentions(VariableKind::RequestTime)
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
            // Clients control variables, and must not choose the metrics.
            Destination::Metrics => None,
            Destination::Application { .. } | Destination::Nothing => None,
        }
    }
}

impl Steps {
    fn mentions(&self, kind: VariableKind) -> bool {
        let mut steps = self.route.steps().iter();
        steps.any(|(tests, action)| tests.mentions(kind) || action.mentions(kind))
    }
}

#[cfg(test)]
mod tests {
    use routing::{Condition, Match, Rewrite, Route, Template, Test, VariableSet};

    use super::*;
    use crate::routes::action::{ActionKind, ResponseHeader, Return, Share};

    const TIME: &str = "/$request_time";

    fn template(text: &str) -> Template {
        Template::parse(text, VariableSet::ALL).unwrap()
    }

    fn nothing() -> Action {
        Action {
            kind: ActionKind::Return(Return::new(200, None)),
            rewrite: None,
            response_headers: Vec::new(),
        }
    }

    fn share(path: &str) -> Share {
        Share {
            paths: vec![template("/first"), template(path)],
            chroot: None,
            files: static_files::Share::new(static_files::Options::default()),
            fallback: None,
        }
    }

    fn of(kind: ActionKind) -> Action {
        Action { kind, ..nothing() }
    }

    /// A table with this step after another one.
    fn table(tests: Match, action: Action) -> Table {
        let steps = |name: &str, tests, action| Steps {
            name: Some(name.to_owned()),
            route: Route::new([(Match::default(), nothing()), (tests, action)]),
        };
        let routes = vec![
            steps("first", Match::default(), nothing()),
            steps("second", tests, action),
        ];
        Table::new(routes, [], [])
    }

    #[test]
    fn requests_are_timed_where_their_time_may_be_asked_for_and_nowhere_else() {
        let rewrite = |text| Rewrite::parse(text, VariableSet::ALL).unwrap();
        let header = |value: &str| ResponseHeader {
            name: http::header::AGE,
            value: Some(template(value)),
        };
        let actions = |text: &'static str| {
            let fallback = Some(Box::new(of(ActionKind::Share(share(text)))));
            let chroot = Some(template(text));
            vec![
                of(ActionKind::Return(Return::new(301, Some(template(text))))),
                of(ActionKind::Pass(Pass::Variable(template(text)))),
                of(ActionKind::Share(share(text))),
                of(ActionKind::Share(Share {
                    fallback,
                    ..share("/")
                })),
                of(ActionKind::Share(Share {
                    chroot,
                    ..share("/")
                })),
                Action {
                    rewrite: Some(rewrite(text)),
                    ..nothing()
                },
                Action {
                    response_headers: vec![header("1"), header(text)],
                    ..nothing()
                },
            ]
        };
        let first = Pass::Steps(0);
        for (index, (with, without)) in actions(TIME).into_iter().zip(actions("/$uri")).enumerate()
        {
            assert!(
                table(Match::default(), with).times_requests(&first),
                "{index}"
            );
            assert!(
                !table(Match::default(), without).times_requests(&first),
                "{index}"
            );
        }
        let tests =
            |text| Match::new([Test::If(Condition::parse(text, VariableSet::ALL).unwrap())]);
        assert!(table(tests("!$request_time"), nothing()).times_requests(&first));
        let other = table(tests("$uri"), nothing());
        assert!(!other.times_requests(&first));
        assert!(other.times_requests(&Pass::Variable(template(TIME))));
        assert!(!other.times_requests(&Pass::Variable(template("$uri"))));
    }
}
