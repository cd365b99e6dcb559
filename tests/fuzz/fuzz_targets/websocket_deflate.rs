//! What a client deflated: never a panic, never more memory than the limit, and the same in whatever pieces; and every message
//! survives the way there and back.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| worker_server::fuzzing::websocket_deflate(bytes));
