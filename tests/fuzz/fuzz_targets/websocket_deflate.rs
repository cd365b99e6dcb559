//! What a client deflated: never a panic, never more memory than the limit, and the same in whatever pieces; and every message
//! survives the way there and back. The first byte says how the bytes are cut, the second the window.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let &[step, window, ref bytes @ ..] = bytes else { return };
    worker_server::fuzzing::websocket_deflate(bytes, usize::from(step), window);
});
