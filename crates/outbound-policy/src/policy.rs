//! The policy of one application: the list of its grants, and special addresses.

use std::net::IpAddr;
use std::sync::Arc;

use crate::{Destination, Grant, Host, address};

/// Where an application's guests may send requests to. The default is nowhere. A clone shares the list.
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

    /// Whether a request may be sent to this destination, before its name is resolved. For a literal address this is
    /// final. Each address of a name must be checked with [`allows_address`](Self::allows_address), too.
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

    /// Whether a request to this destination may be sent to this address. To be called right before connecting, with
    /// the address that is connected to: another look-up may return another one (DNS rebinding).
    pub fn allows_address(&self, destination: &Destination, resolved: IpAddr) -> bool {
        let resolved = address::effective(resolved);
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
