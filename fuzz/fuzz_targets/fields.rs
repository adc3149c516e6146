#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| static_files::fuzz_fields(data));
