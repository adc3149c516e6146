//! Fuzz target: patterns of routes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| routing::fuzz_patterns(data));
