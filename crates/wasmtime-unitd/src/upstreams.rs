//! The upstreams of a configuration, as proxies. They keep their state over changes of the configuration.

use std::collections::HashMap;

use config::ServerAddress;
use proxy::{Pool, Proxy, Server, Timeouts, Upstream};

/// The upstreams of a configuration, and the connection pool, which all configurations share.
#[derive(Clone, Default)]
pub(crate) struct Upstreams {
    pool: Pool,
    by_name: HashMap<String, ConfiguredUpstream>,
}

/// An upstream and the configuration that it was created for.
#[derive(Clone)]
struct ConfiguredUpstream {
    config: config::Upstream,
    proxy: Proxy,
}

impl Upstreams {
    /// The upstreams of the next configuration. Idle connections are kept, and an unchanged upstream continues its
    /// round robin.
    pub(crate) fn next(&self, configs: &[config::Upstream]) -> Self {
        let known = |config: &config::Upstream| {
            let kept = self.by_name.get(&config.name);
            if let Some(kept) = kept.filter(|kept| kept.config == *config) {
                return kept.clone();
            }
            let servers = config.servers.iter();
            let servers = servers.map(|it| (server(&it.address), it.weight.number()));
            // Cannot fail: `config` has checked the weights.
            let upstream = Upstream::new(servers).unwrap_or_else(|error| {
                tracing::error!("upstream \"{}\": {error}; it has no servers", config.name);
                Upstream::default()
            });
            ConfiguredUpstream {
                config: config.clone(),
                proxy: self.proxy(upstream),
            }
        };
        let by_name = configs.iter().map(|it| (it.name.clone(), known(it)));
        Self {
            pool: self.pool.clone(),
            by_name: by_name.collect(),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Proxy> {
        self.by_name
            .get(name)
            .map(|upstream| upstream.proxy.clone())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (String, Proxy)> {
        let all = self.by_name.iter();
        all.map(|(name, upstream)| (name.clone(), upstream.proxy.clone()))
    }

    /// The proxy to a single server, for the action `proxy`.
    pub(crate) fn single(&self, address: &ServerAddress) -> Proxy {
        self.proxy(Upstream::single(server(address)))
    }

    fn proxy(&self, upstream: Upstream) -> Proxy {
        Proxy::new(upstream, self.pool.clone(), Timeouts::default())
    }
}

fn server(address: &ServerAddress) -> Server {
    match address {
        ServerAddress::Tcp(address) => Server::tcp(*address),
        ServerAddress::Unix(path) => Server::unix(path),
        ServerAddress::Abstract(name) => Server::abstract_name(name),
    }
}
