use std::future::Future;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::dns::Name;
use outbound_policy::{Destination, Policy};
use tokio::sync::{Semaphore, oneshot};
use tower_service::Service;

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
    async fn resolve(
        self,
        name: String,
        timeout: Duration,
    ) -> Result<std::vec::IntoIter<SocketAddr>, Fault> {
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
        Ok(allowed.into_iter())
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Fault;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Fault>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(self.clone().resolve(name.as_str().to_owned(), TIMEOUT))
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
        let addresses = resolver.resolve("localhost".to_owned(), timeout).await;
        addresses.map(Iterator::collect)
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
