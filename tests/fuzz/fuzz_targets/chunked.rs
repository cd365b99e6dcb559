//! Chunked bodies: never a panic, and body and verdict do not depend on how the bytes were cut into reads.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| worker_server::fuzzing::chunked(bytes));
