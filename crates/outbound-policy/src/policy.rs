use std::net::IpAddr;
use std::sync::Arc;

use crate::{Destination, Grant, Host, address};

/// What an application's guests may call. The default is nothing. A clone shares the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    grants: Arc<[Grant]>,
}

impl Policy {
    /// A policy that allows what any of the grants allows.
    pub fn new(grants: impl IntoIterator<Item = Grant>) -> Self {
        Self {
            grants: grants.into_iter().collect(),
        }
    }

    /// Whether nothing is allowed at all.
    pub fn is_empty(&self) -> bool {
        self.grants.is_empty()
    }

    /// The grants, in the order in which they were given.
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// Whether a request may go there as far as can be said before its name is resolved. For an
    /// address as a literal this is the whole answer; a name's addresses are yet to be asked about,
    /// one by one, with [`allows_address`](Self::allows_address).
    pub fn allows(&self, destination: &Destination) -> bool {
        match destination.host() {
            Host::Address(address) if address::is_special(*address) => self
                .grants
                .iter()
                .any(|grant| grant.address() == Some(*address) && grant.matches(destination)),
            Host::Address(_) | Host::Name(_) => {
                self.grants.iter().any(|grant| grant.matches(destination))
            }
        }
    }

    /// Whether a request may go there by a connection to this address. Ask right before connecting,
    /// about the very address: a second look-up may give another.
    pub fn allows_address(&self, destination: &Destination, resolved: IpAddr) -> bool {
        let resolved = address::meant(resolved);
        match destination.host() {
            Host::Address(address) => *address == resolved && self.allows(destination),
            Host::Name(_) if address::is_special(resolved) => {
                resolved.is_loopback()
                    && destination.host().is_localhost()
                    && self.grants.iter().any(|grant| grant.names(destination))
            }
            Host::Name(_) => self.allows(destination),
        }
    }
}
