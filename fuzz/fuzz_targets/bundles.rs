//! Fuzz target: certificate bundles.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| certificates::fuzz_bundle(data));
