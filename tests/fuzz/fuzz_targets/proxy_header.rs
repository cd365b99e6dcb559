//! PROXY headers: never a panic, and never a byte read that may not belong to the header.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| worker_server::fuzzing::proxy_header(bytes));
