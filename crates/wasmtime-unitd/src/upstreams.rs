//! What requests are sent on with.

use std::collections::HashMap;

use config::ServerAddress;
use proxy::{Pool, Proxy, Server, Timeouts, Upstream};

/// The upstreams of a configuration, and the connections that are kept for all configurations.
#[derive(Clone, Default)]
pub(crate) struct Upstreams {
    pool: Pool,
    by_name: HashMap<String, Known>,
}

/// An upstream with the configuration it was made by.
#[derive(Clone)]
struct Known {
    config: config::Upstream,
    proxy: Proxy,
}

impl Upstreams {
    /// Those of the next configuration. Connections are kept, and upstreams that are the same go on with
    /// whose turn it is.
    pub(crate) fn next(&self, configs: &[config::Upstream]) -> Self {
        let known = |config: &config::Upstream| {
            let kept = self.by_name.get(&config.name);
            if let Some(kept) = kept.filter(|kept| kept.config == *config) {
                return kept.clone();
            }
            let servers = config.servers.iter();
            let servers = servers.map(|it| (server(&it.address), it.weight.number()));
            // No weight is none: they have been checked.
            let upstream = Upstream::new(servers).unwrap_or_else(|error| {
                tracing::error!("upstream \"{}\" has no servers: {error}", config.name);
                Upstream::default()
            });
            Known {
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
        self.by_name.get(name).map(|known| known.proxy.clone())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (String, Proxy)> {
        let all = self.by_name.iter();
        all.map(|(name, known)| (name.clone(), known.proxy.clone()))
    }

    /// Of one server.
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
