//! A client's WebSocket frames: never a panic, and messages, answers and verdict do not depend on how the bytes were cut into reads.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| worker_server::fuzzing::websocket_frames(bytes));
