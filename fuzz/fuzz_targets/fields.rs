//! Fuzz target: fields of proxied messages.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| static_files::fuzz_fields(data));
