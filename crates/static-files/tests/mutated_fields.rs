//! Some thousand mutated fields, the same ones on every run; with `FUZZ=N` in the environment N
//! times as many, and others for each N.

/// A byte for the file's size, a range, accepted codings, tags, a date or tag.
const SEEDS: &[&str] = &[
    "\x0abytes=0-0,-1, 5-6\ngzip, br;q=0.5, *;q=0\nW/\"a\", \"5d66459d-d\"\nSun, 06 Nov 1994 08:49:37 GMT",
    "\x7fbytes=100-18446744073709551615\nidentity;q=0, zstd\n*\n\"5d66459d-d\"",
    "\x00bytes=0-\n*;q=0.001\n\"a,b\",,\"\"\nSunday, 06-Nov-94 08:49:37 GMT",
    "\x20BYTES=-5,0-1,2-3,4-5,6-7,8-9,10-11\nx-gzip;q=1.000\n/srv/www/a/../b\nSun Nov  6 08:49:37 1994",
    "\x30bytes=0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0\n\n//srv///www//\n",
    "\x01bytes=9-3\nbr ; q=0.999 , deflate\n\"5d66459d-d\"x\nThu, 29 Aug 2019 09:23:09 GMT",
];

/// Bytes that matter to the grammars, and some that should not.
const ALPHABET: &[u8] = b"-,=;*. \t\"/W\\:\n0159qbxGz\x00\x7f\xc3\xa9\xff";

#[test]
fn no_field_makes_anything_panic() {
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
        static_files::fuzz_fields(&text);
    }
}

#[test]
fn the_seeds_themselves_are_looked_at() {
    for seed in SEEDS {
        static_files::fuzz_fields(seed.as_bytes());
    }
    static_files::fuzz_fields(b"");
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
