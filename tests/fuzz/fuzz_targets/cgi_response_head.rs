//! What a CGI program answers: never a panic, the verdict does not depend on how the bytes were cut into reads, and nothing is
//! passed on that HTTP could not carry.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| worker::apps::fuzz_response_head(bytes));
