//! Some thousand mutated configurations, the same ones on every run; with `FUZZ=N` in the
//! environment N times as many, and others for each N.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::collections::BTreeSet;

use config::{Config, Path, Value};

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
fn no_text_makes_anything_panic() {
    let mut random = XorShift(0x9E37_79B9_7F4A_7C15 ^ times());
    for round in 0..12_000 * times() as usize {
        let mut text = SEEDS[round % SEEDS.len()].as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(text.len());
            let byte = ALPHABET[random.below(ALPHABET.len())];
            match random.below(5) {
                0 => text[at] = byte,
                1 => text.insert(at, byte),
                2 => drop(text.remove(at)),
                3 => text.truncate(at + 1),
                _ => {
                    let end = (at + random.below(30)).min(text.len());
                    let copy = text[at..end].to_vec();
                    let to = random.below(text.len());
                    text.splice(to..to, copy);
                }
            }
            if text.is_empty() {
                text.push(byte);
            }
        }
        config::fuzz_text(&text);
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
fn no_value_in_any_place_makes_a_check_panic() {
    let values: Vec<_> = VALUES.iter().map(|text| parse(text)).collect();
    let mut random = XorShift(0x2545_F491_4F6C_DD1D ^ times());
    let (mut accepted, mut places) = (0, BTreeSet::new());
    for round in 0..6_000 * times() as usize {
        let (_, text) = SEEDS[round % SEEDS.len()].split_once('\n').unwrap();
        let mut tree = parse(text);
        for _ in 0..=random.below(3) {
            let mut paths = Vec::new();
            collect(&tree, &Path::default(), &mut paths);
            let path = &paths[random.below(paths.len())];
            let value = values[random.below(values.len())].clone();
            tree = match random.below(4) {
                0 => config::delete(&tree, path),
                1 => config::append(&tree, path, value),
                _ => config::put(&tree, path, value),
            }
            .unwrap_or(tree);
        }
        config::fuzz_text(config::print(&tree).as_bytes());
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
    config::parse(text.as_bytes()).unwrap()
}

/// The paths of all values.
fn collect(value: &Value, path: &Path, paths: &mut Vec<Path>) {
    paths.push(path.clone());
    for (name, member) in value.as_object().into_iter().flat_map(config::Object::iter) {
        collect(member, &path.clone().join(name), paths);
    }
    for (index, element) in value.as_array().into_iter().flatten().enumerate() {
        collect(element, &path.clone().join(&index.to_string()), paths);
    }
}

#[test]
fn the_seeds_themselves_parse() {
    for seed in SEEDS {
        let (_, text) = seed.split_once('\n').unwrap();
        config::parse(text.as_bytes()).unwrap();
        config::fuzz_text(seed.as_bytes());
    }
}

fn times() -> u64 {
    let named = std::env::var("FUZZ").ok();
    named.and_then(|text| text.parse().ok()).unwrap_or(1)
}

struct XorShift(u64);

impl XorShift {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % limit.max(1)
    }
}
