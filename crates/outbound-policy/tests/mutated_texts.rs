//! Some thousand mutated grants and URIs, the same ones on every run; with `FUZZ=N` in the
//! environment N times as many, and others for each N.

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
fn no_text_makes_anything_panic() {
    let mut random = XorShift(0x9E37_79B9_7F4A_7C15 ^ times());
    for round in 0..60_000 * times() as usize {
        let mut text = SEEDS[round % SEEDS.len()].as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(text.len());
            let byte = ALPHABET[random.below(ALPHABET.len())];
            match random.below(5) {
                0 => text[at] = byte,
                1 => text.insert(at, byte),
                2 => drop(text.remove(at)),
                3 if random.below(8) == 0 => text.truncate(at + 1),
                _ => {
                    let end = (at + random.below(12)).min(text.len());
                    let copy = text[at..end].to_vec();
                    let to = random.below(text.len());
                    text.splice(to..to, copy);
                }
            }
            if text.is_empty() {
                text.push(byte);
            }
        }
        outbound_policy::fuzz_policy(&text);
    }
}

#[test]
fn the_seeds_themselves_are_looked_at() {
    for seed in SEEDS {
        let (grant, uri) = seed.split_once('\n').unwrap();
        outbound_policy::Grant::parse(grant).unwrap();
        outbound_policy::fuzz_policy(seed.as_bytes());
        outbound_policy::fuzz_policy(grant.as_bytes());
        outbound_policy::fuzz_policy(uri.as_bytes());
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
