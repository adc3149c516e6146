//! DNS look-ups: in threads of their own, limited in number and time, and filtered by the policy.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use outbound_policy::{Destination, Policy};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::error::ConnectFault;

/// For one look-up, including the wait for its turn.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Look-ups at a time, for one client.
const LOOKUPS: usize = 16;
/// Addresses of one name. More are not tried.
const ADDRESSES: usize = 16;

/// Looks up the name of one destination, and drops the addresses that the policy forbids.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    pub(crate) policy: Policy,
    pub(crate) destination: Destination,
    pub(crate) lookups: Arc<Semaphore>,
}

/// The limit on look-ups of one client.
pub(crate) fn lookups() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(LOOKUPS))
}

impl Resolver {
    /// The addresses of a name, at least one, without a port.
    pub(crate) async fn resolve(self, name: String) -> Result<Vec<SocketAddr>, ConnectFault> {
        let all = match timeout(TIMEOUT, lookup(name.clone(), self.lookups)).await {
            Ok(Ok(all)) => all,
            Ok(Err(reason)) => return Err(ConnectFault::Dns(name, reason)),
            Err(_) => return Err(ConnectFault::DnsTimeout(name)),
        };
        if all.is_empty() {
            return Err(ConnectFault::Dns(
                name,
                "the name has no address".to_owned(),
            ));
        }
        let allowed: Vec<_> = all
            .into_iter()
            .filter(|address| self.policy.allows_address(&self.destination, address.ip()))
            .take(ADDRESSES)
            .collect();
        if allowed.is_empty() {
            return Err(ConnectFault::Prohibited(name));
        }
        Ok(allowed)
    }
}

/// Asks the system's resolver, in a thread of its own, since a look-up cannot be cancelled. The turn ends with the
/// thread, not when the caller stops waiting.
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
            // The caller may have stopped waiting.
            let _ = sender.send(addresses);
        })
        .map_err(|error| error.to_string())?;
    receiver.await.map_err(|error| error.to_string())?
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn localhost(grant: &str, lookups: Semaphore) -> Result<Vec<SocketAddr>, ConnectFault> {
        let resolver = Resolver {
            policy: Policy::new(grant.parse()),
            destination: Destination::of(&"http://localhost/".parse().unwrap()).unwrap(),
            lookups: Arc::new(lookups),
        };
        resolver.resolve("localhost".to_owned()).await
    }

    #[tokio::test]
    async fn only_what_the_policy_allows_is_found() {
        let found = localhost("http://localhost", Semaphore::new(1))
            .await
            .unwrap();
        assert!(!found.is_empty());
        assert!(found.iter().all(|address| address.ip().is_loopback()));
        let prohibited = localhost("*", Semaphore::new(1)).await;
        assert!(matches!(prohibited, Err(ConnectFault::Prohibited(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_that_waits_for_its_turn_times_out() {
        let late = localhost("http://localhost", Semaphore::new(0)).await;
        assert!(matches!(late, Err(ConnectFault::DnsTimeout(_))));
    }
}
