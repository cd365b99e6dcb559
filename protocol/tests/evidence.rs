//! What a dying worker leaves can be read, whatever state it is in.

use protocol::evidence::{
    REQUEST_LINE_BYTES, REQUEST_SLOT_BYTES, REQUEST_SLOTS, SIZE_BYTES, TEXT_OFFSET, clear_request,
    requests_in_flight, text, write_request,
};

fn memory() -> Vec<u8> {
    vec![0; SIZE_BYTES]
}

fn entry(memory: &mut [u8], index: usize) -> &mut [u8; REQUEST_SLOT_BYTES] {
    let start = index * REQUEST_SLOT_BYTES;
    (&mut memory[start..start + REQUEST_SLOT_BYTES]).try_into().expect("an entry of the table")
}

#[test]
fn a_traceback_of_200_frames_arrives_whole() {
    let mut traceback = String::from("Traceback (most recent call last):\n");
    for frame in 0..200 {
        traceback += &format!(
            "  File \"/srv/application/package/module_{frame:03}.py\", line {}, in function_{frame:03}\n    \
             return await next_function(request, timeout=settings.TIMEOUT)\n",
            frame * 7 + 1
        );
    }
    traceback += "RuntimeError: café is closed\n";
    assert!(traceback.len() > 24 * 1024, "as long as real ones: {} bytes", traceback.len());
    let mut memory = memory();
    memory[TEXT_OFFSET..TEXT_OFFSET + traceback.len()].copy_from_slice(traceback.as_bytes());
    assert_eq!(text(&memory), traceback);
}

#[test]
fn text_that_fills_the_memory_is_read_to_its_end() {
    let mut memory = memory();
    memory[TEXT_OFFSET..].fill(b'x');
    assert_eq!(text(&memory).len(), SIZE_BYTES - TEXT_OFFSET);
    // The last letter was cut in two.
    memory[SIZE_BYTES - 1] = 0xC3;
    assert!(text(&memory).ends_with("x\u{FFFD}"));
}

#[test]
fn no_text_is_no_text() {
    assert_eq!(text(&memory()), "");
    assert_eq!(text(&[]), "");
    assert_eq!(text(&[b'x'; TEXT_OFFSET]), "");
}

#[test]
fn the_layout_is_this() {
    assert_eq!((SIZE_BYTES, REQUEST_SLOTS, REQUEST_SLOT_BYTES), (65_536, 64, 128));
    assert_eq!((REQUEST_LINE_BYTES, TEXT_OFFSET), (118, 8_192));
    let mut memory = memory();
    write_request(entry(&mut memory, 1), 0x0102_0304, b"GET /");
    assert_eq!(memory[128..144], *b"\x04\x03\x02\x01\0\0\0\0\x05\0GET /\0");
    assert!(memory[..128].iter().chain(&memory[144..]).all(|&byte| byte == 0), "nothing else was touched");
}

#[test]
fn requests_are_read_back_oldest_first() {
    let mut memory = memory();
    write_request(entry(&mut memory, 0), 900, b"GET /new HTTP/1.1");
    write_request(entry(&mut memory, 5), 100, b"POST /old?x=1 HTTP/1.1");
    write_request(entry(&mut memory, REQUEST_SLOTS - 1), 500, "GET /caf\u{e9} HTTP/1.1".as_bytes());
    write_request(entry(&mut memory, 7), 300, b"GET /done HTTP/1.1");
    clear_request(entry(&mut memory, 7));
    let read: Vec<_> =
        requests_in_flight(&memory).into_iter().map(|request| (request.started_ms, request.line)).collect();
    let expected = [(100, "POST /old?x=1 HTTP/1.1"), (500, "GET /café HTTP/1.1"), (900, "GET /new HTTP/1.1")];
    assert_eq!(read, expected.map(|(started_ms, line)| (started_ms, line.to_owned())));
}

#[test]
fn a_long_line_is_cut_and_a_shorter_one_leaves_nothing_of_it() {
    let mut memory = memory();
    write_request(entry(&mut memory, 0), 1, &[b'x'; 500]);
    assert_eq!(requests_in_flight(&memory)[0].line, "x".repeat(REQUEST_LINE_BYTES));
    write_request(entry(&mut memory, 0), 2, b"GET /");
    assert_eq!(requests_in_flight(&memory)[0].line, "GET /");
    assert_eq!(requests_in_flight(&memory).len(), 1);
}

#[test]
fn a_request_of_the_first_millisecond_is_not_taken_for_a_free_entry() {
    let mut memory = memory();
    write_request(entry(&mut memory, 0), 0, b"GET / HTTP/1.1");
    assert_eq!(requests_in_flight(&memory)[0].started_ms, 1);
}

#[test]
fn garbage_yields_garbage_text_and_never_a_panic() {
    let mut seed = 0x5EED_u64;
    let mut requests = 0;
    for round in 0..300_usize {
        let length = if round % 2 == 0 { SIZE_BYTES } else { round * 37 };
        let memory: Vec<u8> = (0..length)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                seed.to_be_bytes()[0]
            })
            .collect();
        requests += requests_in_flight(&memory).len();
        assert!(text(&memory).len() <= 3 * SIZE_BYTES, "each wrong byte becomes one mark of three bytes");
    }
    assert!(requests > 1_000, "garbage was read as {requests} requests: too few to prove anything");
}
