//! Request heads: never a panic, and the verdict does not depend on how the bytes were cut into reads.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| worker_server::fuzzing::head(bytes));
