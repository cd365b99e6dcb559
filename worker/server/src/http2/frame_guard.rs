//! Watches the frames of a client by their headers, for what hyper lets pass or calls by another name: a connection that does not
//! begin with SETTINGS, frames of a wrong size, a window beyond its bound, and floods of frames that cost the server work and the
//! client nothing. Knows only bytes and the moment they came.

use std::time::{Duration, Instant};

use super::PREFACE;

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
const ACK: u8 = 1;

/// A setting's number and value.
const SETTING_BYTES: usize = 6;
const INITIAL_WINDOW_SIZE: u16 = 4;
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
    /// Too many frames that carry nothing (RFC 9113 §10.5).
    Flood,
}

/// The watch over one connection.
#[derive(Debug)]
pub(crate) struct FrameGuard {
    place: Place,
    header: [u8; HEADER_BYTES],
    setting: [u8; SETTING_BYTES],
    is_first: bool,
    /// Idle frames that may come in one period.
    allowance: u32,
    counted: u32,
    period_began: Instant,
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
}

impl FrameGuard {
    /// A watch from the preface on, which lets `allowance` idle frames pass in ten seconds.
    pub(crate) fn new(allowance: u32, now: Instant) -> Self {
        Self {
            place: Place::Preface(PREFACE.len()),
            header: [0; HEADER_BYTES],
            setting: [0; SETTING_BYTES],
            is_first: true,
            allowance,
            counted: 0,
            period_began: now,
        }
    }

    /// Looks at the next bytes.
    pub(crate) fn pass(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Breach> {
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
        Ok(())
    }

    fn begin_frame(&mut self, now: Instant) -> Result<(), Breach> {
        let [high, middle, low, kind, flags, ..] = self.header;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        self.place = match (length, kind) {
            (0, _) => Place::Header(0),
            (_, SETTINGS) => Place::Settings(length),
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
            PING => length == 8,
            GOAWAY => length >= 8,
            _ => true,
        };
        if !has_its_size {
            return Err(Breach::FrameSize);
        }
        let is_idle = match kind {
            // hyper bounds the blocks of fields, and the windows bound what carries something.
            HEADERS | WINDOW_UPDATE => false,
            DATA => length == 0 && flags & END_STREAM == 0,
            CONTINUATION => length == 0,
            // SETTINGS, PING, RST_STREAM, PRIORITY, and what nobody knows.
            _ => true,
        };
        if is_idle { self.count(now) } else { Ok(()) }
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
        if self.counted > self.allowance { Err(Breach::Flood) } else { Ok(()) }
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
mod tests {
    use super::*;

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
            bytes.extend(frame(HEADERS, 0, length));
            bytes.extend(frame(0x42, 0, length));
        }
        let now = Instant::now();
        for step in 1..bytes.len() {
            let pass = |allowance| {
                let mut guard = FrameGuard::new(allowance, now);
                bytes.chunks(step).try_for_each(|piece| guard.pass(piece, now))
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
            assert_eq!(FrameGuard::new(9, now).pass(&bytes, now), expected);
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
                let mut guard = FrameGuard::new(9, now);
                let result = bytes.chunks(step).try_for_each(|piece| guard.pass(piece, now));
                assert_eq!(result, expected, "step {step} {}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn a_new_period_forgives() {
        let now = Instant::now();
        let mut guard = FrameGuard::new(3, now);
        let hello = [PREFACE.to_vec(), frame(SETTINGS, 0, 0), frame(6, 0, 8), frame(6, 0, 8)].concat();
        assert_eq!(guard.pass(&hello, now), Ok(()));
        assert_eq!(guard.pass(&frame(6, 0, 8), now + PERIOD), Ok(()));
        assert_eq!(guard.pass(&frame(6, 0, 8).repeat(3), now + PERIOD), Err(Breach::Flood));
    }
}
