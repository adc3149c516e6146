//! Mutated header fields, on every test run; see the crate `test-mutations`.

use test_mutations::Mutations;

use super::fuzz_fields;

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
fn mutated_header_fields_do_not_panic() {
    let mutations = Mutations::of(SEEDS).with_bytes(ALPHABET);
    for text in mutations.texts(60_000) {
        fuzz_fields(&text);
    }
}

#[test]
fn unmutated_seeds_do_not_panic() {
    for seed in SEEDS {
        fuzz_fields(seed.as_bytes());
    }
    fuzz_fields(b"");
}
