//! Fuzz target: grants of outgoing requests.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outbound_policy::fuzz_policy(data));
