//! The header fields of proxies: never a panic, no field lost, and nothing malformed believed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| worker_server::fuzzing::forwarded(bytes));
