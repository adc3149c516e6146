//! The entry point for fuzzing. Exists in test and fuzzing builds only.

#[cfg(test)]
mod mutations;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{Destination, Grant, Host, Policy};

/// Runs `data` through everything that reads texts from outside, and asks what would be allowed.
/// It must return whatever `data` is.
///
/// The first line is taken for a grant, the rest for a request's URI; without a line feed all of it
/// is both.
///
/// # Panics
///
/// When a canonical form does not read back as the same value, or something is allowed that no
/// grant may allow. That is what a fuzzer looks for.
pub fn fuzz_policy(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (first, rest) = text.split_once('\n').unwrap_or((&text, &text));

    let everything = Policy::new(Grant::parse("*"));
    let granted = Grant::parse(first);
    match &granted {
        Ok(grant) => {
            let canonical = grant.to_string();
            assert_eq!(
                Grant::parse(&canonical).as_ref(),
                Ok(grant),
                "{canonical} reads back otherwise"
            );
            assert!(canonical.is_ascii(), "{canonical} is not ASCII");
        }
        Err(error) => assert!(
            error.to_string().len() < 2_000,
            "a message repeats all of a long value"
        ),
    }

    let Ok(uri) = rest.parse() else { return };
    let Ok(destination) = Destination::of(&uri) else {
        return;
    };
    let canonical = destination.to_string();
    let again = canonical.parse().ok().map(|uri| Destination::of(&uri));
    assert_eq!(
        again,
        Some(Ok(destination.clone())),
        "{canonical} reads back otherwise"
    );
    assert!(destination.port() != 0, "{canonical} has no port");

    // What is granted by its own name is allowed, whatever it is.
    let exact = Policy::new(Grant::parse(&canonical));
    assert!(exact.allows(&destination), "{canonical} does not match");
    assert!(
        !Policy::default().allows(&destination),
        "nothing allows {canonical}"
    );

    let one = Policy::new(granted);
    if one.allows(&destination) {
        assert!(!one.is_empty(), "no grant allows {canonical}");
        let special = matches!(destination.host(), Host::Address(address)
            if crate::address::is_special(*address));
        assert!(
            everything.allows(&destination) != special,
            "a wildcard decides otherwise about {canonical}"
        );
    }
    for address in [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
        IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped()),
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    ] {
        assert!(
            !everything.allows_address(&destination, address),
            "a wildcard leads {canonical} to {address}"
        );
        let named =
            destination.host().is_localhost() || matches!(destination.host(), Host::Address(_));
        assert!(
            named || !one.allows_address(&destination, address),
            "the name in {canonical} leads to {address}"
        );
    }
}
