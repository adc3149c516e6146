//! What a policy allows, before and after a name is resolved.

#![expect(clippy::unwrap_used, reason = "a test may, its helpers included")]

use outbound_policy::{Destination, Grant, Policy};

fn policy(grants: &[&str]) -> Policy {
    Policy::new(grants.iter().map(|text| Grant::parse(text).unwrap()))
}

fn to(uri: &str) -> Destination {
    Destination::of(&uri.parse().unwrap()).unwrap()
}

fn allows(grants: &[&str], uri: &str) -> bool {
    policy(grants).allows(&to(uri))
}

fn resolves(grants: &[&str], uri: &str, address: &str) -> bool {
    policy(grants).allows_address(&to(uri), address.parse().unwrap())
}

#[test]
fn without_grants_nothing_is_allowed() {
    assert!(Policy::default().is_empty());
    assert_eq!(Policy::default(), policy(&[]));
    for uri in [
        "http://example.com/",
        "http://127.0.0.1/",
        "http://localhost/",
    ] {
        assert!(!allows(&[], uri));
        assert!(!resolves(&[], uri, "192.0.2.1"));
    }
}

#[test]
fn scheme_host_and_port_all_have_to_match() {
    let grant = &["https://api.example.com"];
    assert!(allows(grant, "https://api.example.com/any/path?query"));
    assert!(allows(grant, "https://API.example.com.:443/"));
    for uri in [
        "http://api.example.com/",
        "http://api.example.com:443/",
        "https://api.example.com:8443/",
        "https://example.com/",
        "https://a.api.example.com/",
        "https://api.example.com.evil.example/",
        "https://xapi.example.com/",
    ] {
        assert!(!allows(grant, uri), "{uri}");
    }
    assert!(allows(&["http://a:*"], "http://a:9/"));
    assert!(!allows(&["http://a:*"], "https://a:9/"));
    assert!(allows(&["https://*"], "https://a/"));
    assert!(!allows(&["https://*"], "https://a:8443/"));
    assert!(allows(&["http://a", "http://b"], "http://b/"));
}

#[test]
fn a_wildcard_stands_for_one_or_more_labels() {
    let grant = &["http://*.internal:8080"];
    assert!(allows(grant, "http://a.internal:8080/"));
    assert!(allows(grant, "http://b.a.INTERNAL.:8080/"));
    for uri in [
        "http://internal:8080/",
        "http://xinternal:8080/",
        "http://a.internal/",
        "http://a.internal.example:8080/",
        "http://10.0.0.1:8080/",
    ] {
        assert!(!allows(grant, uri), "{uri}");
    }
}

#[test]
fn a_star_allows_private_networks_and_no_special_address() {
    for uri in [
        "http://10.0.0.1/",
        "https://192.168.1.1:1/",
        "http://172.16.0.1/",
        "http://[fd00::1]/",
        "http://192.0.2.1:65535/",
    ] {
        assert!(allows(&["*"], uri), "{uri}");
    }
    for host in [
        "127.0.0.1",
        "127.255.0.9",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:a9fe:a9fe::1]",
        "0.0.0.0",
        "[::]",
        "169.254.169.254",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "255.255.255.255",
        "224.0.0.1",
        "[ff02::1]",
    ] {
        let uri = format!("http://{host}/");
        assert!(!allows(&["*", "http://*", "http://*:*"], &uri), "{uri}");
        assert!(allows(&["*", &format!("http://{host}")], &uri), "{uri}");
        assert!(!allows(&[&format!("https://{host}")], &uri), "{uri}");
        assert!(!allows(&[&format!("http://{host}:81")], &uri), "{uri}");
        assert!(allows(&[&format!("http://{host}:*")], &uri), "{uri}");
    }
}

#[test]
fn ssrf_a_name_does_not_lead_to_a_special_address() {
    for address in [
        "127.0.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "0.0.0.0",
        "::",
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "fe80::1",
        "fd00:ec2::254",
        "100.100.100.200",
    ] {
        for grant in ["*", "http://*", "http://*.local", "http://upstream.local"] {
            // Not even when the address is granted, too: the request did not name it.
            let grants = [grant, "http://127.0.0.1", "http://169.254.169.254"];
            assert!(
                !resolves(&grants, "http://upstream.local/", address),
                "{grant} {address}"
            );
        }
    }
    assert!(resolves(&["*"], "http://upstream.local/", "10.0.0.1"));
    assert!(resolves(
        &["*"],
        "http://upstream.local/",
        "64:ff9b::808:808"
    ));
    assert!(!resolves(
        &["http://other.local"],
        "http://upstream.local/",
        "10.0.0.1"
    ));
}

#[test]
fn localhost_leads_to_loopback_where_it_is_granted_by_name() {
    for address in ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"] {
        assert!(resolves(
            &["http://localhost"],
            "http://LOCALHOST./",
            address
        ));
        assert!(resolves(
            &["http://a.localhost:*"],
            "http://a.localhost:9/",
            address
        ));
        assert!(!resolves(&["*"], "http://localhost/", address));
        assert!(!resolves(&["http://*"], "http://localhost/", address));
        assert!(!resolves(
            &["http://*.localhost"],
            "http://a.localhost/",
            address
        ));
        assert!(!resolves(
            &["http://localhost", "*"],
            "http://a.localhost/",
            address
        ));
        assert!(!resolves(
            &["http://localhost:81", "*"],
            "http://localhost/",
            address
        ));
        assert!(!resolves(
            &["http://notlocalhost"],
            "http://notlocalhost/",
            address
        ));
    }
    for address in ["169.254.169.254", "0.0.0.0", "::", "fe80::1"] {
        assert!(!resolves(
            &["http://localhost"],
            "http://localhost/",
            address
        ));
    }
    // The name is granted, not the address.
    assert!(!allows(&["http://localhost"], "http://127.0.0.1/"));
}

#[test]
fn an_address_is_called_at_this_address_only() {
    let grant = &["http://10.0.0.1", "http://127.0.0.1"];
    assert!(resolves(grant, "http://10.0.0.1/", "10.0.0.1"));
    assert!(resolves(grant, "http://127.0.0.1/", "::ffff:127.0.0.1"));
    assert!(!resolves(grant, "http://10.0.0.1/", "127.0.0.1"));
    assert!(!resolves(&["*"], "http://127.0.0.1/", "127.0.0.1"));
}
