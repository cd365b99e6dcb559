//! A range of a file that waits to be sent, and the block of it that was read where the kernel does not send it by itself. The
//! file's own position is never used: others may share it.

use std::{cell::Cell, fs::File, io, os::unix::fs::FileExt};

use crate::FileSending;

/// Read at once, and what makes sendfile(2) worth its own call. Two blocks of it keep a socket's default buffer busy.
const BLOCK_BYTES: usize = 64 * 1024;

/// Where the bytes are.
#[derive(Debug)]
pub(crate) struct FileRange {
    pub(crate) file: File,
    pub(crate) offset: u64,
    sending: Cell<FileSending>,
}

impl FileRange {
    pub(crate) fn new(file: File, offset: u64) -> Self {
        Self { file, offset, sending: Cell::new(FileSending::ByKernel) }
    }

    /// The kernel cannot send this one.
    pub(crate) fn refuse_kernel(&self) {
        self.sending.set(FileSending::ByReading);
    }

    /// Whether the kernel is to send it. A small one costs less by a read, which lets it leave together with the head.
    pub(super) fn is_for_kernel(&self, length: usize, transport: FileSending) -> bool {
        match (transport, self.sending.get()) {
            (FileSending::ByKernel, FileSending::ByKernel) => length > BLOCK_BYTES,
            (FileSending::ByReading, _) | (FileSending::ByKernel, FileSending::ByReading) => false,
        }
    }
}

impl FileRange {
    /// Reads the next of at most `wanted` bytes, and moves on.
    ///
    /// # Errors
    /// The system's; `UnexpectedEof` when the file has ended: it was cut short since its length was told.
    pub(crate) fn read_next(&mut self, wanted: usize) -> io::Result<Vec<u8>> {
        let mut block = Block::default();
        block.fill(self, 0, wanted)?;
        self.offset += block.filled as u64;
        block.bytes.truncate(block.filled);
        Ok(block.bytes)
    }
}

/// Bytes that were read of a file and are not yet written.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// Zeroed once.
    bytes: Vec<u8>,
    written: usize,
    filled: usize,
}

impl Block {
    /// What is still to be written.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.written..self.filled]
    }

    /// Notes that `count` bytes of the file were written, by whomever.
    pub(super) fn advance(&mut self, count: usize) {
        self.written = (self.written + count).min(self.filled);
    }

    /// Reads up to `wanted` bytes that begin `written` bytes into the range, if nothing is left.
    ///
    /// # Errors
    /// The system's; `UnexpectedEof` when the file has ended: it was cut short since its length was told.
    pub(super) fn fill(&mut self, range: &FileRange, written: u64, wanted: usize) -> io::Result<()> {
        if self.written < self.filled {
            return Ok(());
        }
        let wanted = wanted.min(BLOCK_BYTES);
        if self.bytes.len() < wanted {
            self.bytes.resize(wanted, 0);
        }
        let count = loop {
            match range.file.read_at(&mut self.bytes[..wanted], range.offset + written) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => break done?,
            }
        };
        (self.written, self.filled) = (0, count);
        if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}
