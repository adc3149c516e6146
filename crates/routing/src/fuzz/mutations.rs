//! Mutated patterns, templates and requests, on every test run; see the crate `test-mutations`.

use test_mutations::Mutations;

use super::fuzz_routing;

/// What a configuration says, a target, a cookie.
const SEEDS: &[&str] = &[
    "/a*b*c\n/a/b/../bc?a=b&c\na=b; c=d",
    "*bl%61h\n//bl%61h/./x/..?a=%20b+c#d\na = b ;a=c",
    "~^/[a-z]+\\.php(/.*)?$\n/x.php/%2e%2e/y%3Fz?x\n=a",
    "!*%2A*\n/*/%2A//?a&a=&=\na",
    "127.0.0.1/8:80-8080\n/%ff%c3\n",
    "[::1-::ffff]:8080\n/.../..a/.b\n",
    "*:8080\n/a?b#c?d\n",
    "unix\n/\n",
    "/v1${uri}$dollar\n/a%25b?c=%2e%2e\n",
    "!$arg_a$cookie_a$header_a\n/?a=1&a=0\na=false",
    "$arg_a\n/?a=..%2f..%252e/b\n",
    "~^/[a-z&&[^b]]+\\d{2}$|(?i)\\x41*?\n/Ab12?a\n",
    "a b?c#d?e%20\n/a b?c#d?e%20#f\n",
];

/// Bytes that matter to the grammars, and some that should not.
const ALPHABET: &[u8] = b"*!~%/.?#$&=;:+-_[]{}()\\` \n0125afxAF\x00\x7f\xc3\xa9\xff";

#[test]
fn mutated_routes_and_requests_do_not_panic() {
    let mutations = Mutations::of(SEEDS).with_bytes(ALPHABET);
    for text in mutations.texts(60_000) {
        fuzz_routing(&text);
    }
}

#[test]
fn path_traversal_is_impossible_with_any_order_of_dots_slashes_and_escapes() {
    const PARTS: &[&str] = &["/", ".", "%2e", "%2F", "a", "%", "%3f", "?"];
    let mut paths = vec![String::new()];
    for _ in 0..6 {
        let longer = |path: &String| {
            let path = path.clone();
            PARTS.iter().map(move |part| path.clone() + part)
        };
        paths = paths.iter().flat_map(longer).collect();
    }
    for path in &paths {
        fuzz_routing(format!("/$arg_a\n/{path}\n").as_bytes());
    }
}

#[test]
fn unmutated_seeds_are_targets_and_do_not_panic() {
    for seed in SEEDS {
        let target = seed.lines().nth(1).unwrap();
        crate::Target::parse(target.as_bytes()).unwrap();
        fuzz_routing(seed.as_bytes());
        fuzz_routing(target.as_bytes());
    }
}
