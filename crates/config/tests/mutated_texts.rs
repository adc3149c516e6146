//! Some thousand mutated configurations, the same ones on every run.

/// Texts with something of everything that is read; the first line is a path.
const SEEDS: &[&str] = &[
    "/listeners/*:80/pass\n{\"listeners\": {\"*:80\": {\"pass\": \"applications/a\"}}, \
     \"applications\": {\"a\": {\"type\": \"wasm\", \"module\": \"/c\", \"free_handler\": \"x\",}}}",
    "/applications/a%2Fb/limits/timeout\n{\"applications\": {\"a/b\": {\"type\": \
     \"wasm-wasi-component\", \"component\": \"/c\", \"environment\": {\"A\": \"1\"}, \"limits\": \
     {\"timeout\": 1e1, \"requests\": -0}, \"processes\": {\"max\": 2}, \"isolation\": {\"uidmap\": \
     [{\"container\": 0, \"host\": 1, \"size\": 1}]}}}}",
    "/1/0\n// comment\n[0, [1.5, -2e-3, /* * / **/ null], true, \"\\u00e9\\uD83E\\uDD80\\n\\\"\",]",
];

/// Bytes that matter to the grammar, and some that should not.
const ALPHABET: &[u8] = b"{}[]:,\"\\/*\n 0919.-+eEutrfnx$%\x00\x1f\x7f\xc3\xa9\xff";

#[test]
fn no_text_makes_anything_panic() {
    let mut random = XorShift(0x9E37_79B9_7F4A_7C15);
    for round in 0..6_000 {
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

#[test]
fn the_seeds_themselves_parse() {
    for seed in SEEDS {
        let (_, text) = seed.split_once('\n').unwrap();
        config::parse(text.as_bytes()).unwrap();
        config::fuzz_text(seed.as_bytes());
    }
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
