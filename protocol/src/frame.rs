//! The framing of the control channel: one JSON object a line, newline included at most [`MAX_FRAME_BYTES`].
//! Knows bytes and messages; never a pipe.

use std::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::VERSION;

/// PIPE_BUF on Linux: a write of at most this many bytes to a pipe is atomic (pipe(7)).
pub const MAX_FRAME_BYTES: usize = 4096;

/// Why bytes of the control channel are no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameError {
    /// No newline within [`MAX_FRAME_BYTES`].
    TooLong,
    /// The line is not one of the messages; the text says what the parser met.
    Malformed(String),
    /// The line is a hello in another version of the protocol.
    WrongVersion {
        /// The version that the worker speaks.
        theirs: u32,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "a line is longer than {MAX_FRAME_BYTES} bytes"),
            Self::Malformed(cause) => write!(f, "a line is no message of the protocol: {cause}"),
            Self::WrongVersion { theirs } => {
                write!(f, "it speaks version {theirs} of the control channel, not {VERSION}: rebuild it")
            }
        }
    }
}

impl std::error::Error for FrameError {}

/// Writes `message` as one line, newline included.
///
/// # Errors
/// [`FrameError::TooLong`] when the line would not be atomic; the caller shortens its texts first ([`cut_to_fit`]).
pub fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>, FrameError> {
    let mut line = serde_json::to_vec(message).map_err(|error| FrameError::Malformed(error.to_string()))?;
    line.push(b'\n');
    if line.len() > MAX_FRAME_BYTES { Err(FrameError::TooLong) } else { Ok(line) }
}

/// The longest prefix of `text` that fits a frame with room for the rest of the message, whatever JSON escapes cost:
/// a control character becomes six bytes, so a sixth of the frame is always safe.
#[must_use]
pub fn cut_to_fit(text: &str) -> &str {
    const SAFE_BYTES: usize = (MAX_FRAME_BYTES - 256) / 6;
    &text[..text.floor_char_boundary(SAFE_BYTES)]
}

/// Whether a worker of this version can be understood.
///
/// # Errors
/// [`FrameError::WrongVersion`] when it is not [`VERSION`].
pub fn check_version(theirs: u32) -> Result<(), FrameError> {
    if theirs == VERSION { Ok(()) } else { Err(FrameError::WrongVersion { theirs }) }
}

/// What a hello of every version has, whatever else it brings.
#[derive(Deserialize)]
struct AnyHello {
    #[serde(rename = "type")]
    kind: String,
    version: u32,
}

/// Names a hello of another version for what it is: its other fields may be unknown here.
fn why_not_a_message(line: &[u8], error: &serde_json::Error) -> FrameError {
    match serde_json::from_slice(line) {
        Ok(AnyHello { kind, version }) if kind == "hello" && version != VERSION => {
            FrameError::WrongVersion { theirs: version }
        }
        Ok(_) | Err(_) => FrameError::Malformed(error.to_string()),
    }
}

/// Collects bytes as they come and gives back whole messages.
#[derive(Debug, Default)]
pub struct Decoder {
    received: Vec<u8>,
    /// How much of `received` was given back already. It is cut off when the next bytes come, not after each message.
    taken: usize,
}

impl Decoder {
    /// Takes bytes as they were read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.received.drain(..self.taken);
        self.taken = 0;
        self.received.extend_from_slice(bytes);
    }

    /// The next whole message; `None` until its newline has come.
    ///
    /// # Errors
    /// [`FrameError`] for a line that is no message or is over-long. The channel cannot be trusted after one: close it.
    pub fn next_message<M: DeserializeOwned>(&mut self) -> Result<Option<M>, FrameError> {
        let pending = &self.received[self.taken..];
        let searched = &pending[..pending.len().min(MAX_FRAME_BYTES)];
        let Some(end) = searched.iter().position(|&byte| byte == b'\n') else {
            return if searched.len() == MAX_FRAME_BYTES { Err(FrameError::TooLong) } else { Ok(None) };
        };
        self.taken += end + 1;
        let line = &searched[..end];
        serde_json::from_slice(line).map(Some).map_err(|error| why_not_a_message(line, &error))
    }
}
