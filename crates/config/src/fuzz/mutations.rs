//! Mutated configurations, on every test run; see the crate `test-mutations`.

use std::collections::BTreeSet;

use test_mutations::{Mutations, Random};

use super::fuzz_text;
use crate::{Config, Path, Value};

/// Texts with something of everything that is read; the first line is a path.
const SEEDS: &[&str] = &[
    "/listeners/*:80/pass\n{\"listeners\": {\"*:80\": {\"pass\": \"applications/a\"}}, \
     \"applications\": {\"a\": {\"type\": \"wasm\", \"module\": \"/c\", \"free_handler\": \"x\",}}}",
    "/applications/a%2Fb/limits/timeout\n{\"applications\": {\"a/b\": {\"type\": \
     \"wasm-wasi-component\", \"component\": \"/c\", \"environment\": {\"A\": \"1\"}, \"limits\": \
     {\"timeout\": 1e1, \"requests\": -0}, \"processes\": {\"max\": 2}, \"isolation\": {\"uidmap\": \
     [{\"container\": 0, \"host\": 1, \"size\": 1}]}}}}",
    "/applications/a/access/filesystem/0\n{\"applications\": {\"a\": {\"type\": \"wasm\", \"module\": \
     \"/c\", \"access\": {\"filesystem\": [\"/a\", {\"path\": \"/b\", \"as\": \"/d/e\", \"read_only\": \
     true}], \"outbound_http\": [\"https://*.a.b:8443\", \"http://[::1]:*\", \"*\"]}}}}",
    "/applications/a/limits/memory\n{\"applications\": {\"a\": {\"type\": \"wasm\", \"module\": \
     \"/c\", \"limits\": {\"timeout\": 5, \"execution_timeout\": 0.05, \"memory\": 65536, \
     \"concurrency\": 8}, \"instances\": {\"reuse\": 100, \"concurrency\": 10}}}}",
    "/reuse\n{\"reuse\": 10, \"concurrency\": 2}",
    "/0/as\n[\"/a\", {\"path\": \"/b\", \"as\": \"/c\", \"read_only\": false}, \"/d/./e//\"]",
    "/1/0\n// comment\n[0, [1.5, -2e-3, /* * / **/ null], true, \"\\u00e9\\uD83E\\uDD80\\n\\\"\",]",
];

/// Bytes that matter to the grammar, and some that should not.
const ALPHABET: &[u8] = b"{}[]:,\"\\/*\n 0919.-+eEutrfnx$%\x00\x1f\x7f\xc3\xa9\xff";

#[test]
fn mutated_configurations_do_not_panic() {
    let mutations = Mutations::of(SEEDS)
        .with_bytes(ALPHABET)
        .with_longest_copy(30);
    for text in mutations.texts(12_000) {
        fuzz_text(&text);
    }
}

/// Values that a check has to have an answer to, wherever they stand.
const VALUES: &[&str] = &[
    "null",
    "true",
    "\"\"",
    "\"/\"",
    "\"..\"",
    "\"/a/../b\"",
    "\"\\u0000\"",
    "\"*\"",
    "\"http://\"",
    "\"https://a.example\"",
    "[]",
    "[[]]",
    "{}",
    "{\"path\": \"/a\"}",
    "0",
    "-0",
    "-1",
    "1",
    "1.5",
    "0.001",
    "1e-300",
    "1000001",
    "65536",
    "4294967296",
    "17179869184",
    "9e18",
    "-9e18",
];

/// Mutated bytes seldom leave a text that parses; these always do.
#[test]
fn mutated_value_trees_do_not_panic_the_check() {
    let values: Vec<_> = VALUES.iter().map(|text| parse(text)).collect();
    let mut random = Random::new();
    let (mut accepted, mut places) = (0, BTreeSet::new());
    for round in 0..6_000 * test_mutations::times() {
        let (_, text) = SEEDS[round % SEEDS.len()].split_once('\n').unwrap();
        let mut tree = parse(text);
        for _ in 0..=random.below(3) {
            let mut paths = Vec::new();
            collect(&tree, &Path::default(), &mut paths);
            let path = &paths[random.below(paths.len())];
            let value = values[random.below(values.len())].clone();
            tree = match random.below(4) {
                0 => crate::delete(&tree, path),
                1 => crate::append(&tree, path, value),
                _ => crate::put(&tree, path, value),
            }
            .unwrap_or(tree);
        }
        fuzz_text(crate::print(&tree).as_bytes());
        match Config::check(&tree) {
            Ok(_) => accepted += 1,
            Err(error) => {
                places.extend(error.path.segments().last().cloned());
            }
        }
    }
    // It is the checks that are tried, and both of their outcomes.
    assert!(accepted > 300, "{accepted} are accepted");
    for place in [
        "execution_timeout",
        "memory",
        "concurrency",
        "reuse",
        "filesystem",
        "outbound_http",
        "path",
        "as",
        "read_only",
        "0",
        "1",
        "2",
    ] {
        assert!(places.contains(place), "{place:?} in {places:?}");
    }
}

fn parse(text: &str) -> Value {
    crate::parse(text.as_bytes()).unwrap()
}

/// The paths of all values.
fn collect(value: &Value, path: &Path, paths: &mut Vec<Path>) {
    paths.push(path.clone());
    for (name, member) in value.as_object().into_iter().flat_map(crate::Object::iter) {
        collect(member, &path.clone().join(name), paths);
    }
    for (index, element) in value.as_array().into_iter().flatten().enumerate() {
        collect(element, &path.clone().join(&index.to_string()), paths);
    }
}

#[test]
fn unmutated_seeds_parse() {
    for seed in SEEDS {
        let (_, text) = seed.split_once('\n').unwrap();
        crate::parse(text.as_bytes()).unwrap();
        fuzz_text(seed.as_bytes());
    }
}
