//! Against SSRF: which addresses are special, and IPv4 addresses embedded in IPv6. Grants are not considered.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The embedded IPv4 address of an IPv6 address, or the address itself.
pub(crate) fn effective(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => embedded(v6).map_or(address, IpAddr::V4),
    }
}

fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let last = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match address.segments() {
        // `::` and `::1` have the form of compatible addresses, but are not.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        // Compatible (RFC 4291, 2.5.5.1), mapped (2.5.5.2), translated (RFC 2765).
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => {
            last(high, low)
        }
        // NAT64 (RFC 6052) and 6to4 (RFC 3056).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => last(high, low),
        _ => None,
    }
}

/// Whether this [`effective`] address must be granted as a literal.
pub(crate) fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => match v4.octets() {
            // This host, loopback, link-local.
            [0 | 127, ..] | [169, 254, ..] => true,
            // Multicast, reserved, broadcast.
            [224..=255, ..] => true,
            // Metadata services: Alibaba, Azure, and Oracle within the IETF's own network.
            [100, 100, 100, 200] | [168, 63, 129, 16] | [192, 0, 0, _] => true,
            _ => false,
        },
        IpAddr::V6(v6) => match v6.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0 | 1] => true,
            // Link-local, multicast.
            [0xfe80..=0xfebf | 0xff00..=0xffff, ..] => true,
            // Metadata services: AWS, Google.
            [0xfd00, 0x0ec2, ..] | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254] => true,
            // NAT64 with a local prefix (RFC 8215), whose length is not known here, and Teredo.
            [0x64, 0xff9b, 1, ..] | [0x2001, 0, ..] => true,
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssrf_an_ipv4_address_embedded_in_ipv6_is_recognized() {
        for text in [
            "::ffff:127.0.0.1",
            "::ffff:7f00:1",
            "::ffff:0:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2002:7f00:1:ffff::5",
        ] {
            let address = text.parse().unwrap();
            assert_eq!(
                effective(address),
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                "{text}"
            );
            assert!(is_special(effective(address)), "{text}");
        }
        for text in [
            "::",
            "::1",
            "fe80::1",
            "2001:db8::7f00:1",
            "64:ff9b:1::7f00:1",
        ] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(effective(address), address);
        }
    }

    #[test]
    fn special_networks_end_where_they_should() {
        for (text, special) in [
            ("0.255.255.255", true),
            ("1.0.0.0", false),
            ("126.255.255.255", false),
            ("127.255.255.255", true),
            ("128.0.0.0", false),
            ("169.253.255.255", false),
            ("169.254.0.0", true),
            ("169.255.0.0", false),
            ("223.255.255.255", false),
            ("224.0.0.0", true),
            ("255.255.255.255", true),
            ("100.100.100.199", false),
            ("100.100.100.200", true),
            ("168.63.129.16", true),
            ("192.0.0.192", true),
            ("192.0.1.0", false),
            ("10.0.0.1", false),
            ("172.16.0.1", false),
            ("192.168.0.1", false),
            ("::", true),
            ("::1", true),
            ("fe7f::1", false),
            ("fe80::1", true),
            ("febf:ffff::1", true),
            ("fec0::1", false),
            ("fc00::1", false),
            ("fd00:ec2::254", true),
            ("fd00:ec3::254", false),
            ("fd20:ce::254", true),
            ("ff02::1", true),
            ("64:ff9b:1::a00:1", true),
            ("2001:0:7f00:1::", true),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_special(text.parse().unwrap()), special, "{text}");
        }
    }
}
