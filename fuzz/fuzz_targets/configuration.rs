//! Fuzz target: configurations.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| config::fuzz_text(data));
