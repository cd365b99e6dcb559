//! Watches the frames of a client by their headers, for what hyper lets pass or calls by another name: a connection that does not
//! begin with SETTINGS, frames of a wrong size, a window beyond its bound, floods of frames that cost the server work and the
//! client nothing, and blocks of fields that never end, which it keeps from being decoded. Knows only bytes and the moment they came.

use std::time::{Duration, Instant};

use super::PREFACE;
use crate::{Http2Limits, limits::HEADER_LIST_GRACE};

const HEADER_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
/// A type of frame that nobody knows: it must be ignored (RFC 9113 §4.1).
pub(crate) const IGNORED: u8 = 0xff;
/// How far before the end of an answer to PING its type stands.
const PING_KIND_FROM_END: usize = HEADER_BYTES - 3 + PING_BYTES;
const PING_BYTES: usize = 8;
/// By this a client's answer to a PING of ours is told from its answer to one of hyper's.
const PING_PAYLOAD: &[u8; PING_BYTES] = b"present?";

/// A setting's number and value.
const SETTING_BYTES: usize = 6;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_HEADER_LIST_SIZE: u16 = 6;
/// Largest flow-control window (RFC 9113 §6.9.1).
const WINDOW_LIMIT: u32 = 0x7fff_ffff;

/// Over this time frames are counted.
const PERIOD: Duration = Duration::from_secs(10);

/// Why a client's frames go no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breach {
    /// The first frame is not SETTINGS (RFC 9113 §3.4).
    NoSettings,
    /// A frame whose size is not that of its type (RFC 9113 §4.2).
    FrameSize,
    /// A setting that makes windows larger than they can be (RFC 9113 §6.5.2).
    Window,
    /// Something else between the frames of a block of fields (RFC 9113 §6.10).
    BrokenBlock,
    /// Too many frames that carry nothing, or a block of fields without an end (RFC 9113 §10.5).
    Flood,
}

/// What a client may send.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bounds {
    /// Idle frames that may come in one period.
    idle_frames: u32,
    frame_bytes: usize,
    /// Of a block of fields, as it is encoded.
    block_bytes: usize,
    /// CONTINUATION frames of a block that do not end it.
    block_frames: usize,
}

impl From<&Http2Limits> for Bounds {
    fn from(limits: &Http2Limits) -> Self {
        let frame_bytes = limits.frame_bytes as usize;
        let block_bytes = limits.header_list_bytes.saturating_mul(HEADER_LIST_GRACE) as usize;
        let frames = block_bytes / frame_bytes.max(1);
        Self {
            idle_frames: limits.idle_frames,
            frame_bytes,
            block_bytes,
            // As h2 counts them: a quarter more than full frames would need, and a few for small bounds.
            block_frames: (frames + frames / 4).max(5),
        }
    }
}

/// What the watch has to say of bytes that are sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Passed {
    /// How many of them may be decoded, after all that was kept back before, unless none may. The others belong to a block of fields
    /// whose end has not come.
    pub(crate) count: usize,
    /// Where the type of a frame stands by which the client answers a PING that hyper does not know of.
    pub(crate) pong_kind: Option<usize>,
}

/// The watch over one connection.
#[derive(Debug)]
pub(crate) struct FrameGuard {
    place: Place,
    header: [u8; HEADER_BYTES],
    setting: [u8; SETTING_BYTES],
    pong: [u8; PING_BYTES],
    is_first: bool,
    bounds: Bounds,
    counted: u32,
    period_began: Instant,
    /// The block of fields whose end has not come.
    block: Option<Block>,
}

/// A block of fields: HEADERS, then CONTINUATION.
#[derive(Debug, Clone, Copy)]
struct Block {
    stream: [u8; 4],
    bytes: usize,
    continuations: usize,
}

/// Where in the stream of bytes the watch is.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// So many bytes of the preface are still to come.
    Preface(usize),
    /// So many bytes of a frame's header are there.
    Header(usize),
    /// So many bytes of a payload are still to come.
    Payload(usize),
    /// The same for SETTINGS, whose values are looked at.
    Settings(usize),
    /// The same for an answer to PING.
    Pong(usize),
}

impl FrameGuard {
    /// A watch from the preface on.
    pub(crate) fn new(bounds: Bounds, now: Instant) -> Self {
        Self {
            place: Place::Preface(PREFACE.len()),
            header: [0; HEADER_BYTES],
            setting: [0; SETTING_BYTES],
            pong: [0; PING_BYTES],
            is_first: true,
            bounds,
            counted: 0,
            period_began: now,
            block: None,
        }
    }

    /// Looks at the next bytes.
    pub(crate) fn pass(&mut self, mut bytes: &[u8], now: Instant) -> Result<Passed, Breach> {
        let total = bytes.len();
        let mut kept_from = self.block.map(|_| 0);
        let mut pong_kind = None;
        while !bytes.is_empty() {
            match self.place {
                Place::Preface(rest) => {
                    let count = rest.min(bytes.len());
                    bytes = &bytes[count..];
                    self.place = if count == rest { Place::Header(0) } else { Place::Preface(rest - count) };
                }
                Place::Header(there) => {
                    let count = (HEADER_BYTES - there).min(bytes.len());
                    self.header[there..there + count].copy_from_slice(&bytes[..count]);
                    bytes = &bytes[count..];
                    self.place = Place::Header(there + count);
                    if there + count == HEADER_BYTES {
                        self.begin_frame(now)?;
                        kept_from = self.block.map(|_| kept_from.unwrap_or(total - bytes.len()));
                    }
                }
                Place::Pong(rest) => {
                    let there = PING_BYTES - rest;
                    let count = rest.min(bytes.len());
                    self.pong[there..there + count].copy_from_slice(&bytes[..count]);
                    bytes = &bytes[count..];
                    self.place = if count == rest { Place::Header(0) } else { Place::Pong(rest - count) };
                    if count == rest && self.pong == *PING_PAYLOAD {
                        // Where it stands in bytes that have gone on already, hyper has to bear it.
                        pong_kind = (total - bytes.len()).checked_sub(PING_KIND_FROM_END);
                    }
                }
                Place::Settings(rest) => {
                    let there = (SETTING_BYTES - rest % SETTING_BYTES) % SETTING_BYTES;
                    let count = (SETTING_BYTES - there).min(bytes.len());
                    self.setting[there..there + count].copy_from_slice(&bytes[..count]);
                    bytes = &bytes[count..];
                    self.place = if count == rest { Place::Header(0) } else { Place::Settings(rest - count) };
                    if there + count == SETTING_BYTES {
                        self.check_setting()?;
                    }
                }
                Place::Payload(rest) => {
                    let count = rest.min(bytes.len());
                    bytes = &bytes[count..];
                    self.place = if count == rest { Place::Header(0) } else { Place::Payload(rest - count) };
                }
            }
        }
        Ok(Passed { count: kept_from.unwrap_or(total), pong_kind })
    }

    fn begin_frame(&mut self, now: Instant) -> Result<(), Breach> {
        let [high, middle, low, kind, flags, stream @ ..] = self.header;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        self.place = match (length, kind) {
            (0, _) => Place::Header(0),
            (_, SETTINGS) => Place::Settings(length),
            (PING_BYTES, PING) if flags & ACK != 0 => Place::Pong(length),
            _ => Place::Payload(length),
        };
        if std::mem::take(&mut self.is_first) && (kind != SETTINGS || flags & ACK != 0) {
            return Err(Breach::NoSettings);
        }
        let has_its_size = match kind {
            PRIORITY => length == 5,
            RST_STREAM | WINDOW_UPDATE => length == 4,
            SETTINGS if flags & ACK != 0 => length == 0,
            SETTINGS => length.is_multiple_of(SETTING_BYTES),
            PING => length == PING_BYTES,
            HEADERS | CONTINUATION => length <= self.bounds.frame_bytes,
            GOAWAY => length >= 8,
            _ => true,
        };
        if !has_its_size {
            return Err(Breach::FrameSize);
        }
        if self.block.is_some() || kind == HEADERS {
            self.follow_block(kind, flags, stream, length)?;
        }
        let is_idle = match kind {
            // Blocks have bounds of their own, and the windows bound what carries something.
            HEADERS | WINDOW_UPDATE => false,
            DATA => length == 0 && flags & END_STREAM == 0,
            CONTINUATION => length == 0,
            // SETTINGS, PING, RST_STREAM, PRIORITY, and what nobody knows.
            _ => true,
        };
        if is_idle { self.count(now) } else { Ok(()) }
    }

    /// A frame that begins a block of fields, goes on with one, or must not come before its end.
    fn follow_block(&mut self, kind: u8, flags: u8, stream: [u8; 4], length: usize) -> Result<(), Breach> {
        let mut block = match (self.block, kind) {
            (None, _) => Block { stream, bytes: 0, continuations: 0 },
            (Some(block), CONTINUATION) if block.stream == stream => {
                Block { continuations: block.continuations + 1, ..block }
            }
            (Some(_), _) => return Err(Breach::BrokenBlock),
        };
        block.bytes += length;
        if block.bytes > self.bounds.block_bytes || block.continuations > self.bounds.block_frames {
            return Err(Breach::Flood);
        }
        self.block = (flags & END_HEADERS == 0).then_some(block);
        Ok(())
    }

    fn check_setting(&self) -> Result<(), Breach> {
        let [high, low, value @ ..] = self.setting;
        let is_window = u16::from_be_bytes([high, low]) == INITIAL_WINDOW_SIZE;
        if is_window && u32::from_be_bytes(value) > WINDOW_LIMIT { Err(Breach::Window) } else { Ok(()) }
    }

    fn count(&mut self, now: Instant) -> Result<(), Breach> {
        if now.saturating_duration_since(self.period_began) >= PERIOD {
            self.period_began = now;
            self.counted = 0;
        }
        self.counted += 1;
        if self.counted > self.bounds.idle_frames { Err(Breach::Flood) } else { Ok(()) }
    }
}

/// The frame with which the server asks whether the client is there (RFC 9113 §6.7).
pub(crate) fn ping() -> [u8; HEADER_BYTES + PING_BYTES] {
    let mut frame = [0; HEADER_BYTES + PING_BYTES];
    (frame[2], frame[3]) = (8, PING);
    frame[HEADER_BYTES..].copy_from_slice(PING_PAYLOAD);
    frame
}

/// Tells the client our bound of a list of fields in the SETTINGS with which the server begins: hyper writes its own, which is larger.
pub(crate) fn set_header_list_bytes(first_frames: &mut [u8], bytes: u32) {
    let [high, middle, low, SETTINGS, ..] = *first_frames else { return };
    let length = u32::from_be_bytes([0, high, middle, low]) as usize;
    let settings = first_frames.get_mut(HEADER_BYTES..HEADER_BYTES + length).unwrap_or_default();
    for setting in settings.chunks_exact_mut(SETTING_BYTES) {
        if setting[..2] == MAX_HEADER_LIST_SIZE.to_be_bytes() {
            setting[2..].copy_from_slice(&bytes.to_be_bytes());
        }
    }
}

/// The frame with which the server ends the connection (RFC 9113 §6.8); `code` is its error code. The last stream is told as the
/// greatest: nothing may be sent again by itself.
pub(crate) fn goaway(code: u32) -> [u8; 17] {
    let mut frame = [0; 17];
    frame[2] = 8;
    frame[3] = 7;
    frame[9..13].copy_from_slice(&0x7fff_ffff_u32.to_be_bytes());
    frame[13..].copy_from_slice(&code.to_be_bytes());
    frame
}

#[cfg(test)]
mod tests;
