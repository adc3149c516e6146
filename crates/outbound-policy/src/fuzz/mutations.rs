//! Mutated grants and URIs, on every test run; see the crate `test-mutations`.

use test_mutations::Mutations;

use super::fuzz_policy;

/// A grant in the first line, a URI in the second.
const SEEDS: &[&str] = &[
    "*\nhttp://user@localhost.:80/a?b#c",
    "https://api.example.com\nhttps://API.example.com:443/",
    "http://*.internal:8080\nhttp://a.b.internal.:8080/x",
    "http://[::1]:8080\nhttp://[::ffff:127.0.0.1]:8080/",
    "http://127.0.0.1:*\nhttp://0x7f.0.0.1/",
    "https://10.0.0.1:8443\nhttps://[64:ff9b::a00:1]:8443/",
    "http://bücher.example\nhttp://xn--bcher-kva.example/",
    "http://a.localhost:65535\nhttp://2130706433:65536/",
    "http://*:*\nhttp://[fe80::1%25eth0]:0/",
];

/// Bytes that matter to the grammar, and some that should not.
const ALPHABET: &[u8] = b"*.:/@[]%?#-_\\\n 0179afxXAZ+\x00\x7f\xc3\xa9\xef\xbc\x90\xff";

#[test]
fn mutated_grants_and_uris_do_not_panic() {
    let mutations = Mutations::of(SEEDS).with_bytes(ALPHABET);
    for text in mutations.texts(60_000) {
        fuzz_policy(&text);
    }
}

#[test]
fn unmutated_seeds_are_grants_and_do_not_panic() {
    for seed in SEEDS {
        let (grant, uri) = seed.split_once('\n').unwrap();
        crate::Grant::parse(grant).unwrap();
        fuzz_policy(seed.as_bytes());
        fuzz_policy(grant.as_bytes());
        fuzz_policy(uri.as_bytes());
    }
}
