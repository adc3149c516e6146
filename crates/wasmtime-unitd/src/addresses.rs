//! Addresses of listeners, from the configuration's type to the server's.

use config::ServerAddress;
use server::Address;

/// Connections that the kernel queues for a socket that has no `backlog`. Unit's number.
pub(crate) const DEFAULT_BACKLOG: u32 = 511;

/// The address that a configured listener binds.
pub(crate) fn address(listener: &config::Listener) -> Address {
    match listener.address.socket() {
        ServerAddress::Tcp(address) => Address::Tcp(*address),
        ServerAddress::Unix(path) => Address::Unix(path.clone()),
        ServerAddress::Abstract(name) => Address::Abstract(name.clone()),
    }
}
