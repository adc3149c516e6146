//! Converts the routes of a configuration into the server's table.

use std::sync::Arc;

use engine::Application;
use server::{
    Action, ActionKind, Metrics, Pass, ResponseHeader, Return, Share, Steps, Table, Target,
};
use static_files::MimeTypes;

use crate::upstreams::Upstreams;

/// The table of `routes`, `upstreams`, and all applications, including those that could not be loaded.
pub(crate) fn table(
    routes: &[config::Route],
    mime_types: &Arc<MimeTypes>,
    upstreams: &Upstreams,
    metrics: &Metrics,
    application: impl Fn(&str) -> Option<Application>,
    names: impl Iterator<Item = String>,
) -> Table {
    let context = RouteContext {
        routes,
        mime_types,
        upstreams,
        metrics,
        application: &application,
    };
    let steps = routes.iter().map(|route| Steps {
        name: route.name.clone(),
        route: routing::Route::new(route.steps.steps().iter().map(|(tests, action)| {
            let action = context.action(action);
            (tests.clone(), action)
        })),
    });
    let applications = names.map(|name| {
        let served = application(&name);
        (name, served)
    });
    Table::new(steps.collect(), applications, upstreams.all())
}

/// The target of a listener's `pass`. An application does not need the table.
pub(crate) fn target(
    pass: &config::Pass,
    routes: &[config::Route],
    upstreams: &Upstreams,
    metrics: &Metrics,
    table: &Table,
    application: impl Fn(&str) -> Option<Application>,
) -> Target {
    match pass {
        config::Pass::Application(name) => {
            application(name).map_or(Target::Unavailable, Target::Application)
        }
        config::Pass::Routes(name) => {
            Target::Table(table.clone(), Pass::Steps(index(routes, name.as_deref())))
        }
        // With the table, so that targets are checked as they are before routes.
        config::Pass::Upstream(name) => upstreams.get(name).map_or(Target::Unavailable, |proxy| {
            Target::Table(table.clone(), Pass::Upstream(proxy))
        }),
        config::Pass::Metrics => Target::Table(table.clone(), Pass::Metrics(metrics.clone())),
        config::Pass::Variable(template) => {
            Target::Table(table.clone(), Pass::Variable(template.clone()))
        }
    }
}

/// What the conversion of an action looks up.
struct RouteContext<'a> {
    routes: &'a [config::Route],
    mime_types: &'a Arc<MimeTypes>,
    upstreams: &'a Upstreams,
    metrics: &'a Metrics,
    application: &'a dyn Fn(&str) -> Option<Application>,
}

impl RouteContext<'_> {
    fn action(&self, action: &config::Action) -> Action {
        let headers = action.response_headers.iter();
        Action {
            kind: match &action.kind {
                config::ActionKind::Pass(pass) => ActionKind::Pass(self.pass(pass)),
                config::ActionKind::Return(answer) => {
                    ActionKind::Return(Return::new(answer.status, answer.location.clone()))
                }
                config::ActionKind::Share(share) => ActionKind::Share(self.share(share)),
                config::ActionKind::Proxy(address) => {
                    ActionKind::Pass(Pass::Upstream(self.upstreams.single(address)))
                }
            },
            rewrite: action.rewrite.clone(),
            response_headers: headers
                .map(|header| ResponseHeader {
                    name: header.name.clone(),
                    value: header.value.clone(),
                })
                .collect(),
        }
    }

    fn pass(&self, pass: &config::Pass) -> Pass {
        match pass {
            config::Pass::Application(name) => Pass::Application((self.application)(name)),
            config::Pass::Routes(name) => Pass::Steps(index(self.routes, name.as_deref())),
            config::Pass::Upstream(name) => {
                let proxy = self.upstreams.get(name);
                // Always found: `config` has checked it.
                proxy.map_or(Pass::Application(None), Pass::Upstream)
            }
            config::Pass::Metrics => Pass::Metrics(self.metrics.clone()),
            config::Pass::Variable(template) => Pass::Variable(template.clone()),
        }
    }

    fn share(&self, share: &config::Share) -> Share {
        let types = share.types.clone().map(|types| {
            let is_served = move |name: &str| types.matches(name.as_bytes());
            Arc::new(is_served) as static_files::TypeFilter
        });
        let fallback = share.fallback.as_deref();
        Share {
            paths: share.paths.clone(),
            chroot: share.chroot.clone(),
            files: static_files::Share::new(static_files::Options {
                index: share.index.clone(),
                follow_symlinks: share.follow_symlinks,
                traverse_mounts: share.traverse_mounts,
                types,
                mime_types: Arc::clone(self.mime_types),
                precompressed: share.precompressed,
            }),
            fallback: fallback.map(|action| Box::new(self.action(action))),
        }
    }
}

/// The index of the route of this name, which exists: `config` has checked it.
fn index(routes: &[config::Route], name: Option<&str>) -> usize {
    let found = routes.iter().position(|it| it.name.as_deref() == name);
    found.unwrap_or(routes.len())
}
