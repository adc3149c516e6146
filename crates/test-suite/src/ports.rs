//! Free ports for listeners.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the kernel's range of ephemeral ports, so that no outgoing connection takes a port that has just
/// been found free.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// An address without a listener, a different one for each caller.
#[must_use]
pub fn free_address() -> SocketAddr {
    loop {
        // Concurrent test runs start at different ports.
        let start = std::process::id() % u32::from(COUNT) * 61;
        let offset = (start + u32::from(NEXT.fetch_add(1, Ordering::Relaxed))) % u32::from(COUNT);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST + offset as u16));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
