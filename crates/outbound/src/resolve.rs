use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use outbound_policy::{Destination, Policy};
use tokio::sync::{Semaphore, oneshot};

use crate::error::Fault;

/// For a look-up, with the wait for a turn.
const TIMEOUT: Duration = Duration::from_secs(5);
/// At a time, for one client.
const LOOKUPS: usize = 16;
/// Of one name. More are not tried anyway.
const ADDRESSES: usize = 16;

/// Looks up the name of one destination, and leaves out what the policy forbids.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    pub(crate) policy: Policy,
    pub(crate) destination: Destination,
    pub(crate) lookups: Arc<Semaphore>,
}

/// A bound for the look-ups of one client.
pub(crate) fn lookups() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(LOOKUPS))
}

impl Resolver {
    /// The addresses of a name, at least one, without a port.
    pub(crate) async fn resolve(self, name: String) -> Result<Vec<SocketAddr>, Fault> {
        self.resolve_within(name, TIMEOUT).await
    }

    async fn resolve_within(
        self,
        name: String,
        timeout: Duration,
    ) -> Result<Vec<SocketAddr>, Fault> {
        let all = match tokio::time::timeout(timeout, lookup(name.clone(), self.lookups)).await {
            Ok(Ok(all)) => all,
            Ok(Err(reason)) => return Err(Fault::Dns(name, reason)),
            Err(_) => return Err(Fault::DnsTimeout(name)),
        };
        if all.is_empty() {
            return Err(Fault::Dns(name, "it has no address".to_owned()));
        }
        let allowed: Vec<_> = all
            .into_iter()
            .filter(|address| self.policy.allows_address(&self.destination, address.ip()))
            .take(ADDRESSES)
            .collect();
        if allowed.is_empty() {
            return Err(Fault::Prohibited(name));
        }
        Ok(allowed)
    }
}

/// Asks the system's resolver, in a thread that nobody has to wait for. The turn is over when the
/// thread has ended, not when it is no longer waited for.
async fn lookup(name: String, lookups: Arc<Semaphore>) -> Result<Vec<SocketAddr>, String> {
    let turn = lookups
        .acquire_owned()
        .await
        .map_err(|error| error.to_string())?;
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new()
        .name("lookup".to_owned())
        .spawn(move || {
            let _turn = turn;
            let addresses = (name.as_str(), 0)
                .to_socket_addrs()
                .map(Iterator::collect)
                .map_err(|error| error.to_string());
            // Nobody may be waiting any more.
            let _ = sender.send(addresses);
        })
        .map_err(|error| error.to_string())?;
    receiver.await.map_err(|error| error.to_string())?
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn localhost(grant: &str, lookups: Semaphore) -> Result<Vec<SocketAddr>, Fault> {
        let resolver = Resolver {
            policy: Policy::new(grant.parse()),
            destination: Destination::of(&"http://localhost/".parse().unwrap()).unwrap(),
            lookups: Arc::new(lookups),
        };
        let timeout = match resolver.lookups.available_permits() {
            0 => Duration::from_millis(50),
            _ => Duration::from_secs(20),
        };
        resolver
            .resolve_within("localhost".to_owned(), timeout)
            .await
    }

    #[tokio::test]
    async fn only_what_the_policy_allows_is_found() {
        let found = localhost("http://localhost", Semaphore::new(1))
            .await
            .unwrap();
        assert!(!found.is_empty());
        assert!(found.iter().all(|address| address.ip().is_loopback()));
        let prohibited = localhost("*", Semaphore::new(1)).await;
        assert!(matches!(prohibited, Err(Fault::Prohibited(_))));
    }

    #[tokio::test]
    async fn a_look_up_waits_for_its_turn_and_not_for_ever() {
        let late = localhost("http://localhost", Semaphore::new(0)).await;
        assert!(matches!(late, Err(Fault::DnsTimeout(_))));
    }
}
