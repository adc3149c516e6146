//! Addresses of sockets, as Unit reads them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::table::{Regex, Text};

/// The name of a member that is an address.
pub(super) const ADDRESS: Text = Text::matching(Regex::Computed(|| pattern("")));

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

/// A regular expression for the addresses of [`inet`] and [`unix`] after a prefix. It counts characters instead of
/// bytes, and what is in brackets may be no IPv6 address.
pub(super) fn pattern(prefix: &str) -> String {
    const BYTE: &str = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
    const PORT: &str = "0*(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})";
    let more = MAX_PATH - 1;
    let inet = format!(r"(?:\*|{BYTE}(?:\.{BYTE}){{3}}|\[[0-9A-Fa-f:.]+\]):{PORT}");
    let unix =
        format!(r"unix:(?:@[\s\S]{{1,{more}}}|[^@\u0000][^\u0000]{{1,{more}}}|[^\u0000-\u007f])");
    format!("^{prefix}(?:{inet}|{unix})$")
}
