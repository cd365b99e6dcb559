//! Whatever comes through the pipe is a message or a typed error, never a panic.

use protocol::{
    FromWorker, Phase, ToWorker, VERSION,
    frame::{Decoder, FrameError, MAX_FRAME_BYTES, check_version, cut_to_fit, encode},
};

fn decode(bytes: &[u8]) -> Result<Option<FromWorker>, FrameError> {
    let mut decoder = Decoder::default();
    decoder.push(bytes);
    decoder.next_message()
}

fn failed(message: &str) -> FromWorker {
    FromWorker::Failed { phase: Phase::Startup, message: message.into() }
}

/// A message whose line has exactly so many bytes, newline included.
fn message_of(line_bytes: usize) -> FromWorker {
    let overhead = encode(&failed("")).expect("a short message").len();
    failed(&"x".repeat(line_bytes - overhead))
}

fn assert_malformed(bytes: &[u8], cause: &str) {
    match decode(bytes) {
        Err(FrameError::Malformed(text)) => assert!(text.contains(cause), "{text:?} lacks {cause:?}"),
        other => panic!("{}: {other:?}", String::from_utf8_lossy(bytes)),
    }
}

#[test]
fn garbage_is_a_typed_error() {
    assert_malformed(b"\n", "EOF");
    assert_malformed(b"hello\n", "expected value");
    assert_malformed(b"\xff\xfe\x00\n", "expected value");
    assert_malformed(b"[1,2]\n", "invalid type");
    assert_malformed(b"{\"type\":\"ready\"}}\n", "trailing");
    assert_malformed(b"{\"type\":\"ready\"\n", "EOF");
}

#[test]
fn an_unknown_message_is_a_typed_error_that_names_it() {
    assert_malformed(b"{\"type\":\"sing\"}\n", "sing");
    assert_malformed(b"{\"type\":\"replace_me\",\"reason\":\"old\",\"loud\":true}\n", "loud");
    assert_malformed(b"{\"type\":\"hello\"}\n", "version");
    assert_malformed(b"{\"type\":\"failed\",\"phase\":\"lunch\",\"message\":\"\"}\n", "lunch");
    assert_malformed(b"{\"type\":\"heartbeat\",\"loop_lag_ms\":-1}\n", "-1");
}

#[test]
fn a_hello_of_another_version_is_named_for_what_it_is() {
    let alien = format!("{{\"type\":\"hello\",\"version\":{},\"mood\":\"good\"}}\n", VERSION + 1);
    let error = FrameError::WrongVersion { theirs: VERSION + 1 };
    assert_eq!(decode(alien.as_bytes()), Err(error.clone()));
    assert_eq!(check_version(VERSION + 1), Err(error.clone()));
    assert_eq!(check_version(VERSION), Ok(()));
    assert_eq!(
        error.to_string(),
        format!("it speaks version {} of the control channel, not {VERSION}: rebuild it", VERSION + 1)
    );
    // In our own version an unknown field is no matter of the version.
    let odd = format!("{{\"type\":\"hello\",\"version\":{VERSION},\"mood\":\"good\"}}\n");
    assert_malformed(odd.as_bytes(), "mood");
}

#[test]
fn a_line_of_4096_bytes_is_a_message_and_one_of_4097_is_too_long() {
    let longest = message_of(MAX_FRAME_BYTES);
    let line = encode(&longest).unwrap();
    assert_eq!(line.len(), MAX_FRAME_BYTES);
    assert_eq!(decode(&line), Ok(Some(longest)));
    assert_eq!(encode(&message_of(MAX_FRAME_BYTES + 1)), Err(FrameError::TooLong));
    let mut too_long = vec![b' '; MAX_FRAME_BYTES];
    too_long.push(b'\n');
    assert_eq!(decode(&too_long), Err(FrameError::TooLong));
}

#[test]
fn a_line_without_an_end_is_refused_as_soon_as_it_is_too_long() {
    let mut decoder = Decoder::default();
    decoder.push(&[b'x'; MAX_FRAME_BYTES - 1]);
    assert_eq!(decoder.next_message::<FromWorker>(), Ok(None));
    decoder.push(b"x");
    assert_eq!(decoder.next_message::<FromWorker>(), Err(FrameError::TooLong));
}

#[test]
fn reads_split_anywhere_make_the_same_messages() {
    let messages =
        [FromWorker::Ready, message_of(MAX_FRAME_BYTES), failed("café \u{1F600}\n"), FromWorker::Draining];
    let bytes: Vec<u8> = messages.iter().flat_map(|message| encode(message).unwrap()).collect();
    for size in [1, 2, 3, 7, 100, MAX_FRAME_BYTES - 1, MAX_FRAME_BYTES, MAX_FRAME_BYTES + 1, bytes.len()] {
        let mut decoder = Decoder::default();
        let mut decoded = Vec::new();
        for piece in bytes.chunks(size) {
            decoder.push(piece);
            while let Some(message) = decoder.next_message::<FromWorker>().unwrap() {
                decoded.push(message);
            }
        }
        assert_eq!(decoded, messages, "in pieces of {size} bytes");
    }
}

#[test]
fn several_messages_in_one_read_come_one_by_one() {
    let mut decoder = Decoder::default();
    let drain = |grace_ms| encode(&ToWorker::Drain { grace_ms }).unwrap();
    decoder.push(&[drain(1), drain(2), b"{\"ty".to_vec()].concat());
    assert_eq!(decoder.next_message(), Ok(Some(ToWorker::Drain { grace_ms: 1 })));
    assert_eq!(decoder.next_message(), Ok(Some(ToWorker::Drain { grace_ms: 2 })));
    assert_eq!(decoder.next_message::<ToWorker>(), Ok(None));
    decoder.push(b"pe\":\"drain\",\"grace_ms\":3}\n");
    assert_eq!(decoder.next_message(), Ok(Some(ToWorker::Drain { grace_ms: 3 })));
    assert_eq!(decoder.next_message::<ToWorker>(), Ok(None));
}

#[test]
fn a_text_that_was_cut_fits_a_frame_whatever_it_holds() {
    for letter in ["a", "\"", "\\", "\u{0}", "\u{1f}", "\n", "é", "한", "\u{1F600}"] {
        let cut = cut_to_fit(&letter.repeat(MAX_FRAME_BYTES)).to_owned();
        assert!(cut.len() > 600 && cut.len().is_multiple_of(letter.len()), "{letter:?}: {} bytes", cut.len());
        let hello = FromWorker::Hello {
            version: u32::MAX,
            pid: u32::MAX,
            runtime: cut.clone(),
            stack_signal: Some(i32::MIN),
        };
        for message in [
            failed(&cut),
            hello,
            FromWorker::Loaded { application: cut.clone() },
            FromWorker::ReplaceMe { reason: cut.clone() },
        ] {
            let line = encode(&message).unwrap_or_else(|error| panic!("{letter:?}: {error}"));
            assert_eq!(decode(&line), Ok(Some(message)));
        }
    }
    assert_eq!(cut_to_fit("short"), "short");
}

#[test]
fn random_bytes_never_panic() {
    let mut dice = Dice(0x5EED);
    let (mut messages, mut errors) = (0, 0);
    let valid =
        encode(&FromWorker::Heartbeat { loop_lag_ms: 1, in_flight: 2, oldest_request_ms: 3 }).unwrap();
    for round in 0..50_000 {
        let mut bytes = valid.clone();
        if round % 2 == 0 {
            // One byte of a good line is wrong.
            let place = dice.below(bytes.len());
            bytes[place] = dice.byte();
        } else {
            bytes = (0..dice.below(200)).map(|_| dice.byte()).collect();
            bytes.push(b'\n');
        }
        let mut decoder = Decoder::default();
        for piece in bytes.chunks(1 + dice.below(64)) {
            decoder.push(piece);
            match decoder.next_message::<FromWorker>() {
                Ok(Some(_)) => messages += 1,
                Ok(None) => {}
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    errors += 1;
                    break;
                }
            }
        }
    }
    assert!(
        messages > 100 && errors > 10_000,
        "{messages} messages, {errors} errors: too few to prove anything"
    );
}

/// Reproducible chance (xorshift64*).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::from(u16::from_be_bytes([self.byte(), self.byte()])) % end
    }

    fn byte(&mut self) -> u8 {
        self.roll().to_be_bytes()[0]
    }
}
