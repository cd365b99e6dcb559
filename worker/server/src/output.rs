//! What waits to be written to a client, in order: small things copied into one buffer, large chunks of the app and ranges of
//! files in between as they are. Knows neither HTTP nor the connection; runs no code of the app but `Chunk::as_ref`.

mod file_range;

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
};

use self::file_range::Block;
pub(crate) use self::file_range::FileRange;
use crate::FileSending;

/// Slices that one `writev` takes. A reply rarely has more than three parts.
const SLICES: usize = 16;
/// Written bytes at the front of the buffer that are worth moving the rest for.
const COMPACT_BYTES: usize = 64 * 1024;

/// The queue.
#[derive(Debug)]
pub(crate) struct Output<C> {
    bytes: Vec<u8>,
    /// `bytes[..sent]` was written.
    sent: usize,
    /// `bytes[..sealed]` may be written; what follows is a head that is still held back.
    sealed: usize,
    chunks: VecDeque<PlacedChunk<C>>,
    /// Bytes of chunks and files that wait.
    chunk_bytes: usize,
    /// Files among the chunks.
    files: usize,
    /// What was read of the first file, where the kernel does not send it.
    block: Block,
    /// Written chunks, kept until they can be dropped outside every borrow: their drop may run code of the app.
    spent: Vec<C>,
}

/// What goes out before `bytes[position..]`.
#[derive(Debug)]
struct PlacedChunk<C> {
    position: usize,
    content: Content<C>,
    length: usize,
    written: usize,
}

#[derive(Debug)]
enum Content<C> {
    Chunk(C),
    File(FileRange),
}

impl<C> Default for Output<C> {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            sent: 0,
            sealed: 0,
            chunks: VecDeque::new(),
            chunk_bytes: 0,
            files: 0,
            block: Block::default(),
            spent: Vec::new(),
        }
    }
}

impl<C> Output<C> {
    /// Bytes that wait to be written, a held head not counted.
    pub(crate) fn waiting(&self) -> usize {
        self.sealed.saturating_sub(self.sent) + self.chunk_bytes
    }

    /// The buffer, for appending. What is appended is held back until [`Output::seal`].
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Lends the buffer out, to append while no borrow is held; [`Output::give_back`] must follow. Nothing can be written meanwhile.
    pub(crate) fn lend(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Takes a lent buffer back.
    pub(crate) fn give_back(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
    }

    /// Lets everything appended so far be written.
    pub(crate) fn seal(&mut self) {
        self.sealed = self.bytes.len();
    }

    /// Puts bytes before a head that is held back, and lets them be written.
    pub(crate) fn insert(&mut self, bytes: &[u8]) {
        self.bytes.splice(self.sealed..self.sealed, bytes.iter().copied());
        self.sealed += bytes.len();
    }

    /// What was appended since the last [`Output::seal`].
    pub(crate) fn held(&self) -> &[u8] {
        &self.bytes[self.sealed..]
    }

    /// Forgets what was appended since the last [`Output::seal`].
    pub(crate) fn discard_held(&mut self) {
        self.bytes.truncate(self.sealed);
    }

    /// Takes the buffer if nothing at all is in the queue, so that an idle connection holds no memory.
    pub(crate) fn release(&mut self) -> Option<Vec<u8>> {
        if !self.bytes.is_empty() || self.bytes.capacity() == 0 || !self.chunks.is_empty() {
            return None;
        }
        Some(std::mem::take(&mut self.bytes))
    }

    /// A chunk that was written in whole. Drop it when no borrow is held.
    pub(crate) fn pop_spent(&mut self) -> Option<C> {
        self.spent.pop()
    }

    /// Notes that `count` bytes of [`Output::slices`] were written.
    pub(crate) fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let boundary = self.chunks.front().map_or(self.sealed, |chunk| chunk.position);
            let small = (boundary - self.sent).min(count);
            self.sent += small;
            count -= small;
            if count == 0 {
                break;
            }
            let Some(chunk) = self.chunks.front_mut() else { break };
            let large = (chunk.length - chunk.written).min(count);
            chunk.written += large;
            self.chunk_bytes -= large;
            count -= large;
            if let Content::File(_) = chunk.content {
                self.block.advance(large);
            }
            if chunk.written == chunk.length
                && let Some(chunk) = self.chunks.pop_front()
            {
                match chunk.content {
                    Content::Chunk(chunk) => self.spent.push(chunk),
                    Content::File(_) => {
                        self.files -= 1;
                        // A connection that waits for its next request holds no buffer.
                        self.block = Block::default();
                    }
                }
            }
        }
        self.compact();
    }

    /// Appends a range of a file. Must not be empty.
    pub(crate) fn push_file(&mut self, range: FileRange, length: usize) {
        self.chunk_bytes += length;
        self.files += 1;
        let content = Content::File(range);
        self.chunks.push_back(PlacedChunk { position: self.bytes.len(), content, length, written: 0 });
    }

    /// Whether a file is among what waits.
    pub(crate) fn has_files(&self) -> bool {
        self.files > 0
    }

    /// The range that the kernel is to send now, and how much of it at most; None while something else comes first.
    pub(crate) fn file_for_kernel(&self, sending: FileSending) -> Option<(&FileRange, u64, usize)> {
        let first = self.chunks.front().filter(|first| first.position == self.sent)?;
        match &first.content {
            Content::File(range) if range.is_for_kernel(first.length, sending) => {
                Some((range, range.offset + first.written as u64, first.length - first.written))
            }
            Content::File(_) | Content::Chunk(_) => None,
        }
    }

    /// Reads what is next of the first file, unless the kernel is to send it or something was read already.
    ///
    /// # Errors
    /// The system's; `UnexpectedEof` when the file ends before the range does.
    pub(crate) fn read_file(&mut self, sending: FileSending) -> io::Result<()> {
        // Nothing that is written next can lie behind the first file.
        let first = self.chunks.iter().take(SLICES).find_map(|it| match &it.content {
            Content::File(range) => Some((range, it)),
            Content::Chunk(_) => None,
        });
        match first {
            Some((range, it)) if !range.is_for_kernel(it.length, sending) => {
                self.block.fill(range, it.written as u64, it.length - it.written)
            }
            Some(_) | None => Ok(()),
        }
    }

    fn compact(&mut self) {
        if self.sent == self.sealed && self.chunks.is_empty() {
            if self.sealed == self.bytes.len() {
                self.bytes.clear();
            } else {
                self.bytes.drain(..self.sent);
            }
            (self.sent, self.sealed) = (0, 0);
        } else if self.sent >= COMPACT_BYTES {
            self.bytes.drain(..self.sent);
            for chunk in &mut self.chunks {
                chunk.position -= self.sent;
            }
            self.sealed -= self.sent;
            self.sent = 0;
        }
    }
}

impl<C: AsRef<[u8]>> Output<C> {
    /// Appends a chunk without a copy. Must not be empty.
    pub(crate) fn push_chunk(&mut self, chunk: C) {
        let length = chunk.as_ref().len();
        self.chunk_bytes += length;
        let content = Content::Chunk(chunk);
        self.chunks.push_back(PlacedChunk { position: self.bytes.len(), content, length, written: 0 });
    }

    /// What is to be written next, as far as one call takes it: of a file only what was read.
    pub(crate) fn with_slices<R>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> R) -> R {
        if self.chunks.is_empty() {
            return write(&[IoSlice::new(&self.bytes[self.sent..self.sealed])]);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let (mut count, mut position, mut is_file_read) = (0, self.sent, false);
        for chunk in &self.chunks {
            if count + 2 > SLICES {
                return write(&slices[..count]);
            }
            if chunk.position > position {
                slices[count] = IoSlice::new(&self.bytes[position..chunk.position]);
                position = chunk.position;
                count += 1;
            }
            match &chunk.content {
                Content::Chunk(bytes) => {
                    slices[count] = IoSlice::new(&bytes.as_ref()[chunk.written..chunk.length]);
                    count += 1;
                }
                Content::File(_) if is_file_read => return write(&slices[..count]),
                Content::File(_) => {
                    let block = self.block.rest();
                    if !block.is_empty() {
                        slices[count] = IoSlice::new(block);
                        count += 1;
                    }
                    if block.len() < chunk.length - chunk.written {
                        return write(&slices[..count]);
                    }
                    is_file_read = true;
                }
            }
        }
        if self.sealed > position && count < SLICES {
            slices[count] = IoSlice::new(&self.bytes[position..self.sealed]);
            count += 1;
        }
        write(&slices[..count])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(output: &mut Output<Vec<u8>>, step: usize) -> Vec<u8> {
        let mut written = Vec::new();
        while output.waiting() > 0 {
            let count = output.with_slices(|slices| {
                let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
                let count = all.len().min(step);
                written.extend_from_slice(&all[..count]);
                count
            });
            output.advance(count);
            while output.pop_spent().is_some() {}
        }
        written
    }

    #[test]
    fn bytes_and_chunks_leave_in_order_whatever_is_written_at_once() {
        for step in 1..=60 {
            let mut output = Output::default();
            let mut expected = Vec::new();
            for round in 0..20_u8 {
                output.bytes().extend_from_slice(&[round; 3]);
                output.push_chunk(vec![100 + round; 5]);
                expected.extend_from_slice(&[round; 3]);
                expected.extend_from_slice(&[100 + round; 5]);
            }
            output.bytes().extend_from_slice(b"end");
            expected.extend_from_slice(b"end");
            output.seal();
            output.bytes().extend_from_slice(b"held");
            assert_eq!(output.waiting(), expected.len());
            assert_eq!(drain(&mut output, step), expected, "step {step}");
            output.seal();
            assert_eq!(drain(&mut output, step), b"held");
            assert!(output.release().is_some());
        }
    }

    #[test]
    fn a_held_head_can_be_taken_back() {
        let mut output: Output<Vec<u8>> = Output::default();
        output.bytes().extend_from_slice(b"sealed");
        output.seal();
        output.bytes().extend_from_slice(b"held");
        output.discard_held();
        output.seal();
        assert_eq!(drain(&mut output, 4), b"sealed");
    }
}
