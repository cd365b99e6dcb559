//! Messages deflated and inflated (RFC 7692 §7.2). Knows neither frames nor the handshake, and holds no more memory than it
//! must: a connection gets its zlib state with its first deflated message.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{close::Violation, deflate_offer::Takeover};

/// What a message's deflate stream ends with, and what is left out on the wire (§7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// Room for inflated bytes to begin with, and least room that is added.
const LEAST_ROOM_BYTES: usize = 4 * 1024;
/// Smallest window that zlib's inflate takes.
const LEAST_WINDOW_BITS: u8 = 9;
/// Connections of one worker that may keep a deflate state, each of about 200 KiB, from one message to the next. The others deflate
/// every message afresh in one state that they share, which every client can inflate.
const KEPT_STATES: usize = 128;
/// zlib's own trade between time and size.
const LEVEL: u32 = 6;

/// Inflates what a client sends.
pub(crate) struct Inflater {
    state: Option<Decompress>,
    window_bits: u8,
    takeover: Takeover,
    /// Some of the current message was inflated.
    is_begun: bool,
}

impl Inflater {
    pub(crate) fn new(window_bits: u8, takeover: Takeover) -> Self {
        Self { state: None, window_bits: window_bits.max(LEAST_WINDOW_BITS), takeover, is_begun: false }
    }

    /// Inflates a piece of a message. `message` never holds more than `limit` bytes and one.
    pub(crate) fn inflate(
        &mut self,
        mut piece: &[u8],
        message: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), Violation> {
        let window_bits = self.window_bits;
        self.is_begun = true;
        loop {
            if message.len() == message.capacity() {
                let room = message.len().max(LEAST_ROOM_BYTES).min(limit + 1 - message.len());
                message.reserve_exact(room);
            }
            let state =
                self.state.get_or_insert_with(|| Decompress::new_with_window_bits(false, window_bits));
            let (taken_before, length_before) = (state.total_in(), message.len());
            let status = state.decompress_vec(piece, message, FlushDecompress::Sync);
            let taken = usize::try_from(state.total_in() - taken_before).unwrap_or(usize::MAX);
            piece = piece.get(taken..).unwrap_or_default();
            if message.len() > limit {
                return Err(Violation::TooBig);
            }
            match status {
                // A block that says it is the last (§7.2.3.4): what follows is a new stream.
                Ok(Status::StreamEnd) => {
                    self.state = None;
                    if piece.is_empty() {
                        return Ok(());
                    }
                }
                Ok(Status::Ok | Status::BufError) => {
                    let is_full = message.len() == message.capacity();
                    if piece.is_empty() && !is_full {
                        return Ok(());
                    }
                    if taken == 0 && message.len() == length_before && !is_full {
                        return Err(Violation::Deflate);
                    }
                }
                Err(_) => return Err(Violation::Deflate),
            }
        }
    }

    /// The message's last piece was inflated.
    pub(crate) fn finish(&mut self, message: &mut Vec<u8>, limit: usize) -> Result<(), Violation> {
        // Nothing at all is no deflate stream that could have a tail, though some clients send an empty message so.
        if std::mem::take(&mut self.is_begun) && self.state.is_some() {
            self.inflate(&TAIL, message, limit)?;
            self.is_begun = false;
        }
        if self.takeover == Takeover::No {
            self.state = None;
        }
        Ok(())
    }
}

/// What the connections of one worker share to deflate with.
#[derive(Default)]
pub(crate) struct DeflateStates {
    kept: Cell<usize>,
    /// The state of those that keep none, with its window.
    shared: RefCell<Option<(u8, Compress)>>,
}

/// Deflates what the app sends.
pub(crate) struct Deflater {
    states: Rc<DeflateStates>,
    own: Option<Compress>,
    window_bits: u8,
    takeover: Takeover,
}

impl Deflater {
    pub(crate) fn new(states: Rc<DeflateStates>, window_bits: u8, takeover: Takeover) -> Self {
        Self { states, own: None, window_bits, takeover }
    }

    /// Appends a whole message, deflated; says nothing of it if zlib fails, which it cannot.
    pub(crate) fn deflate(&mut self, message: &[u8], out: &mut Vec<u8>) {
        if message.is_empty() {
            // zlib flushes nothing when there is nothing (§7.2.3.6 gives the byte).
            out.push(0);
            return;
        }
        if self.takeover == Takeover::Yes && self.own.is_none() && self.states.kept.get() < KEPT_STATES {
            self.states.kept.set(self.states.kept.get() + 1);
            self.own = Some(new_state(self.window_bits));
        }
        if let Some(own) = &mut self.own {
            deflate_with(own, message, out);
            return;
        }
        let mut shared = self.states.shared.borrow_mut();
        let window_bits = self.window_bits;
        let (_, state) = match &mut *shared {
            Some(shared) if shared.0 == window_bits => {
                shared.1.reset();
                shared
            }
            shared => shared.insert((window_bits, new_state(window_bits))),
        };
        deflate_with(state, message, out);
    }
}

impl Drop for Deflater {
    fn drop(&mut self) {
        if self.own.is_some() {
            self.states.kept.set(self.states.kept.get() - 1);
        }
    }
}

fn new_state(window_bits: u8) -> Compress {
    Compress::new_with_window_bits(Compression::new(LEVEL), false, window_bits)
}

fn deflate_with(state: &mut Compress, mut message: &[u8], out: &mut Vec<u8>) {
    out.reserve(message.len() / 2 + 64);
    loop {
        let before = state.total_in();
        let status = state.compress_vec(message, out, FlushCompress::Sync);
        let taken = usize::try_from(state.total_in() - before).unwrap_or(usize::MAX);
        message = message.get(taken..).unwrap_or_default();
        if status.is_err() || (message.is_empty() && out.len() < out.capacity()) {
            break;
        }
        out.reserve(message.len() + 64);
    }
    if out.ends_with(&TAIL) {
        out.truncate(out.len() - TAIL.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages() -> Vec<Vec<u8>> {
        let text = "{\"user\":\"ann\",\"text\":\"hello hello\"}".repeat(300).into_bytes();
        let noise = (0..9_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        vec![b"Hello".to_vec(), Vec::new(), text, noise, vec![b'a'; 40_000], b"Hello".to_vec()]
    }

    fn inflate(inflater: &mut Inflater, deflated: &[u8], step: usize) -> Result<Vec<u8>, Violation> {
        let mut message = Vec::new();
        for piece in deflated.chunks(step) {
            inflater.inflate(piece, &mut message, 1_000_000)?;
        }
        inflater.finish(&mut message, 1_000_000)?;
        Ok(message)
    }

    #[test]
    fn messages_survive_any_window_and_takeover_in_any_pieces() {
        for window_bits in 9..=15 {
            for takeover in [Takeover::Yes, Takeover::No] {
                for step in [usize::MAX, 1000, 7, 1] {
                    let mut deflater = Deflater::new(Rc::default(), window_bits, takeover);
                    let mut inflater = Inflater::new(window_bits, takeover);
                    for message in messages() {
                        let mut out = Vec::new();
                        deflater.deflate(&message, &mut out);
                        let inflated = inflate(&mut inflater, &out, step);
                        let length = message.len();
                        let what = || inflated.as_ref().map(Vec::len);
                        assert!(
                            inflated.as_ref() == Ok(&message),
                            "{window_bits} {takeover:?} {step}: {length} -> {} -> {:?}",
                            out.len(),
                            what()
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_examples_of_the_standard_are_inflated() {
        // RFC 7692 §7.2.3.1, .3 and .4: Huffman, stored, and a block that says it is the last.
        for deflated in [
            &b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..],
            b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
            b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
        ] {
            for takeover in [Takeover::Yes, Takeover::No] {
                let mut inflater = Inflater::new(15, takeover);
                for step in [1, 100] {
                    assert_eq!(inflate(&mut inflater, deflated, step).as_deref(), Ok(&b"Hello"[..]));
                }
            }
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_takes_memory() {
        let mut out = Vec::new();
        Deflater::new(Rc::default(), 15, Takeover::No).deflate(&vec![0; 1_000_000], &mut out);
        let mut message = Vec::new();
        let result = Inflater::new(15, Takeover::No).inflate(&out, &mut message, 65_536);
        assert_eq!(result, Err(Violation::TooBig));
        assert!(message.capacity() <= 65_537, "{} bytes", message.capacity());
    }

    #[test]
    fn what_is_no_deflate_is_a_violation() {
        let mut inflater = Inflater::new(15, Takeover::Yes);
        assert_eq!(inflate(&mut inflater, b"\xff\xff\xff\xff", 100), Err(Violation::Deflate));
    }

    #[test]
    fn a_crowd_of_connections_shares_one_state() {
        let states = Rc::<DeflateStates>::default();
        let mut crowd: Vec<_> =
            (0..KEPT_STATES + 2).map(|_| Deflater::new(Rc::clone(&states), 9, Takeover::Yes)).collect();
        for deflater in &mut crowd {
            let mut inflater = Inflater::new(9, Takeover::Yes);
            for _ in 0..2 {
                let mut out = Vec::new();
                deflater.deflate(b"Hello", &mut out);
                assert_eq!(inflate(&mut inflater, &out, 100).as_deref(), Ok(&b"Hello"[..]));
            }
        }
        assert_eq!(states.kept.get(), KEPT_STATES);
        drop(crowd);
        assert_eq!(states.kept.get(), 0);
    }
}
