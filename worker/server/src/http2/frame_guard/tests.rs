//! The watch over frames, however their bytes are cut.

use super::*;

fn guard(idle_frames: u32) -> FrameGuard {
    let bounds = Bounds { idle_frames, frame_bytes: 16_384, block_bytes: 1_000, block_frames: 3 };
    FrameGuard::new(bounds, Instant::now())
}

fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0, (length >> 8) as u8, length as u8, kind, flags, 0, 0, 0, 0];
    bytes.resize(HEADER_BYTES + length, 0xff);
    bytes
}

#[test]
fn frames_are_found_however_the_bytes_are_cut() {
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 6));
    for length in [0, 1, 300] {
        bytes.extend(frame(HEADERS, END_HEADERS, length));
        bytes.extend(frame(0x42, 0, length));
    }
    let now = Instant::now();
    for step in 1..bytes.len() {
        let pass = |allowance| {
            let mut guard = guard(allowance);
            bytes.chunks(step).try_for_each(|piece| guard.pass(piece, now).map(|_| ()))
        };
        assert_eq!((pass(4), pass(3)), (Ok(()), Err(Breach::Flood)), "step {step}");
    }
}

#[test]
fn the_first_frame_is_settings() {
    let now = Instant::now();
    for (kind, flags, expected) in [
        (SETTINGS, 0, Ok(())),
        (SETTINGS, ACK, Err(Breach::NoSettings)),
        (HEADERS, 4, Err(Breach::NoSettings)),
    ] {
        let bytes = [PREFACE.to_vec(), frame(kind, flags, 0)].concat();
        assert_eq!(guard(9).pass(&bytes, now).map(|_| ()), expected);
    }
}

#[test]
fn sizes_and_windows_are_checked_however_the_bytes_are_cut() {
    let now = Instant::now();
    let settings = |value: u32| {
        let mut bytes = frame(SETTINGS, 0, 12);
        bytes[HEADER_BYTES + 6..HEADER_BYTES + 8].copy_from_slice(&INITIAL_WINDOW_SIZE.to_be_bytes());
        bytes[HEADER_BYTES + 8..].copy_from_slice(&value.to_be_bytes());
        bytes
    };
    for (bytes, expected) in [
        (settings(WINDOW_LIMIT), Ok(())),
        (settings(WINDOW_LIMIT + 1), Err(Breach::Window)),
        ([settings(1), frame(PING, 0, 7)].concat(), Err(Breach::FrameSize)),
        ([settings(1), frame(GOAWAY, 0, 8), frame(RST_STREAM, 0, 4)].concat(), Ok(())),
        (frame(SETTINGS, 0, 7), Err(Breach::FrameSize)),
    ] {
        let bytes = [PREFACE.as_slice(), &bytes].concat();
        for step in 1..bytes.len() {
            let mut guard = guard(9);
            let result = bytes.chunks(step).try_for_each(|piece| guard.pass(piece, now).map(|_| ()));
            assert_eq!(result, expected, "step {step} {}", bytes.escape_ascii());
        }
    }
}

#[test]
fn a_new_period_forgives() {
    let now = Instant::now();
    let mut guard = guard(3);
    guard.period_began = now;
    let all = |count| Ok(Passed { count, pong_kind: None });
    let hello = [PREFACE.to_vec(), frame(SETTINGS, 0, 0), frame(6, 0, 8), frame(6, 0, 8)].concat();
    assert_eq!(guard.pass(&hello, now), all(hello.len()));
    assert_eq!(guard.pass(&frame(6, 0, 8), now + PERIOD), all(17));
    assert_eq!(guard.pass(&frame(6, 0, 8).repeat(3), now + PERIOD), Err(Breach::Flood));
}

#[test]
fn a_block_of_fields_is_kept_until_its_end_however_the_bytes_are_cut() {
    let before = [PREFACE.to_vec(), frame(SETTINGS, 0, 0), frame(HEADERS, END_HEADERS, 9)].concat();
    let open = [frame(HEADERS, 0, 20), frame(CONTINUATION, 0, 30)].concat();
    let end = frame(CONTINUATION, END_HEADERS, 5);
    let bytes = [&before[..], &open, &end, &frame(PING, 0, 8), &open].concat();
    for step in 1..bytes.len() {
        let (mut guard, mut given, mut kept) = (guard(9), Vec::new(), Vec::new());
        for piece in bytes.chunks(step) {
            let count = guard.pass(piece, Instant::now()).unwrap().count;
            if count > 0 {
                given.append(&mut kept);
            }
            given.extend_from_slice(&piece[..count]);
            kept.extend_from_slice(&piece[count..]);
        }
        assert_eq!([given, kept.clone()].concat(), bytes, "step {step}");
        // All but the first header of the second block, which alone says nothing.
        assert_eq!(kept.len(), open.len() - HEADER_BYTES, "step {step}");
    }
}

#[test]
fn a_block_of_fields_has_bounds_and_nothing_comes_between_its_frames() {
    let other_stream = |mut frame: Vec<u8>| {
        frame[8] = 3;
        frame
    };
    for (bytes, expected) in [
        (vec![frame(HEADERS, END_HEADERS, 1_000)], Ok(())),
        (vec![frame(HEADERS, END_HEADERS, 1_001)], Err(Breach::Flood)),
        (vec![frame(HEADERS, 0, 600), frame(CONTINUATION, END_HEADERS, 400)], Ok(())),
        (vec![frame(HEADERS, 0, 600), frame(CONTINUATION, END_HEADERS, 401)], Err(Breach::Flood)),
        (vec![frame(HEADERS, 0, 1), frame(CONTINUATION, 0, 1).repeat(3)], Ok(())),
        (vec![frame(HEADERS, 0, 1), frame(CONTINUATION, 0, 1).repeat(4)], Err(Breach::Flood)),
        (vec![frame(HEADERS, 0, 16_385)], Err(Breach::FrameSize)),
        (vec![frame(HEADERS, 0, 1), frame(PING, 0, 8)], Err(Breach::BrokenBlock)),
        (vec![frame(HEADERS, 0, 1), frame(HEADERS, 0, 1)], Err(Breach::BrokenBlock)),
        (vec![frame(HEADERS, 0, 1), other_stream(frame(CONTINUATION, 4, 1))], Err(Breach::BrokenBlock)),
    ] {
        let bytes = [PREFACE.to_vec(), frame(SETTINGS, 0, 0), bytes.concat()].concat();
        assert_eq!(guard(9).pass(&bytes, Instant::now()).map(|_| ()), expected, "{}", bytes.len());
    }
}

#[test]
fn the_answer_to_our_own_ping_is_found() {
    let mut answer = ping();
    answer[4] = ACK;
    let hello = [PREFACE.to_vec(), frame(SETTINGS, 0, 0)].concat();
    for (bytes, expected) in [(answer.to_vec(), Some(hello.len() + 3)), (frame(PING, ACK, 8), None)] {
        let passed = guard(9).pass(&[hello.clone(), bytes].concat(), Instant::now()).unwrap();
        assert_eq!(passed.pong_kind, expected);
    }
    // Cut before its type and behind it.
    for (cut, expected) in [(3, Some(0)), (4, None)] {
        let mut guard = guard(9);
        guard.pass(&[&hello[..], &answer[..cut]].concat(), Instant::now()).unwrap();
        assert_eq!(guard.pass(&answer[cut..], Instant::now()).unwrap().pong_kind, expected);
    }
}
