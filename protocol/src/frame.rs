//! The framing of the control channel: one JSON object a line, newline included at most [`MAX_FRAME_BYTES`].
//! Knows bytes and messages; never a pipe.

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};

/// PIPE_BUF on Linux: a write of at most this many bytes to a pipe is atomic (pipe(7)).
pub const MAX_FRAME_BYTES: usize = 4096;

/// Why bytes of the control channel are no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameError {
    /// No newline within [`MAX_FRAME_BYTES`].
    TooLong,
    /// The line is not one of the messages; the text says what the parser met.
    Malformed(String),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "a line is longer than {MAX_FRAME_BYTES} bytes"),
            Self::Malformed(cause) => write!(f, "a line is no message of the protocol: {cause}"),
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

/// Collects bytes as they come and gives back whole messages.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: Vec<u8>,
}

impl Decoder {
    /// Takes bytes as they were read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next whole message; `None` until its newline has come.
    ///
    /// # Errors
    /// [`FrameError`] for a line that is no message or is over-long. The channel cannot be trusted after one: close it.
    pub fn next_message<M: DeserializeOwned>(&mut self) -> Result<Option<M>, FrameError> {
        let searched = self.pending.len().min(MAX_FRAME_BYTES);
        let Some(end) = self.pending[..searched].iter().position(|&byte| byte == b'\n') else {
            return if searched == MAX_FRAME_BYTES { Err(FrameError::TooLong) } else { Ok(None) };
        };
        let message = serde_json::from_slice(&self.pending[..end])
            .map_err(|error| FrameError::Malformed(error.to_string()));
        self.pending.drain(..=end);
        message.map(Some)
    }
}
