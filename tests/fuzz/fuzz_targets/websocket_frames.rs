//! A client's WebSocket frames: never a panic, and messages, answers and verdict do not depend on how the bytes were cut into reads.
//! The first byte says how they are cut, the second the window of permessage-deflate; 0 is none.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let &[step, window, ref bytes @ ..] = bytes else { return };
    worker_server::fuzzing::websocket_frames(bytes, usize::from(step), window);
});
