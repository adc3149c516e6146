use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below what systems give to clients, where a port that is free now is not taken by a connection
/// a moment later.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// An address that nobody listens on, a different one for each caller.
#[must_use]
pub fn free_address() -> SocketAddr {
    loop {
        // Test runs side by side start in different places.
        let start = std::process::id() % u32::from(COUNT) * 61;
        let offset = (start + u32::from(NEXT.fetch_add(1, Ordering::Relaxed))) % u32::from(COUNT);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST + offset as u16));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
