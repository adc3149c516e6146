//! Where the server listens, in the words of who listens.

use config::ServerAddress;
use server::Address;

/// The address of a listener.
pub(crate) fn address(listener: &config::Listener) -> Address {
    match listener.address.socket() {
        ServerAddress::Tcp(address) => Address::Tcp(*address),
        ServerAddress::Unix(path) => Address::Unix(path.clone()),
        ServerAddress::Abstract(name) => Address::Abstract(name.clone()),
    }
}
