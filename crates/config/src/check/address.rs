//! Addresses of sockets, as Unit reads them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest path of a Unix socket in bytes, without its final NUL.
const MAX_PATH: usize = 107;

/// `127.0.0.1:80`, `*:80` or `[::1]:80`. The port is a decimal number from 1 to 65535. Host names and IPv6 addresses
/// without brackets are refused.
pub(super) fn inet(text: &str) -> Option<SocketAddr> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once("]:")?;
            (IpAddr::V6(host.parse::<Ipv6Addr>().ok()?), port)
        }
        None => {
            let (host, port) = text.split_once(':')?;
            let host = match host {
                "*" => Ipv4Addr::UNSPECIFIED,
                _ => host.parse().ok()?,
            };
            (IpAddr::V4(host), port)
        }
    };
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|&port: &u16| digits && port > 0)?;
    Some(SocketAddr::new(host, port))
}

/// The text after `unix:`: a path, or an abstract name after an `@`. As in Unit, it has at least two bytes. A
/// path with a NUL would be cut off there.
pub(super) fn unix(text: &str) -> Option<&str> {
    let path = text.strip_prefix("unix:")?;
    let is_whole = path.starts_with('@') || !path.contains('\0');
    ((2..=MAX_PATH).contains(&path.len()) && is_whole).then_some(path)
}
