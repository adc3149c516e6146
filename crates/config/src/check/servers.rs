//! The servers that a configuration proxies to, and the paths where it names them.

use super::action::{Action, ActionKind};
use super::{Config, ServerAddress};
use crate::Path;

impl Config {
    /// Each server of a `proxy`, fallbacks included, and of an upstream, for which the path is that of
    /// `servers`.
    #[must_use]
    pub fn servers(&self) -> Vec<(Path, &ServerAddress)> {
        let mut servers = Vec::new();
        for route in &self.routes {
            for (index, (_, action)) in route.steps.steps().iter().enumerate() {
                let index = index.to_string();
                let name = route.name.as_deref();
                let path = ["routes"]
                    .into_iter()
                    .chain(name)
                    .chain([&*index, "action"]);
                push_proxies(action, path.collect(), &mut servers);
            }
        }
        for upstream in &self.upstreams {
            for server in &upstream.servers {
                let path = ["upstreams", &upstream.name, "servers"];
                servers.push((path.into_iter().collect(), &server.address));
            }
        }
        servers
    }
}

fn push_proxies<'a>(action: &'a Action, path: Path, servers: &mut Vec<(Path, &'a ServerAddress)>) {
    match &action.kind {
        ActionKind::Proxy(address) => servers.push((path.join("proxy"), address)),
        ActionKind::Share(share) => {
            if let Some(fallback) = &share.fallback {
                push_proxies(fallback, path.join("fallback"), servers);
            }
        }
        ActionKind::Pass(_) | ActionKind::Return(_) => {}
    }
}
