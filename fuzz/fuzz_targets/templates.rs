//! Fuzz target: templates with variables.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| routing::fuzz_templates(data));
