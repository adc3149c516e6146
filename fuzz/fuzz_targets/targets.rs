//! Fuzz target: request targets.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| routing::fuzz_targets(data));
