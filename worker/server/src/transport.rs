//! What the engine asks of a transport: bytes both ways, and the sending of a file past this process where it can. Knows neither
//! HTTP nor any kind of transport.

use std::{
    io,
    os::fd::BorrowedFd,
    pin::Pin,
    task::{Context, Poll},
};

use hyper::rt::{Read, Write};

/// A byte stream that a [`crate::Connection`] can be served on.
///
/// A transport that transforms bytes on their way (TLS) has nothing to add to the two traits: what is said of files here is that
/// it cannot send them.
pub trait Transport: Read + Write + Unpin {
    /// Whether [`Transport::poll_send_file`] works.
    fn sends_files(&self) -> FileSending {
        FileSending::ByReading
    }

    /// Sends up to `count` bytes of a regular file from `offset` on, without a copy through this process (sendfile(2)). Ready
    /// with 0 at the file's end. The file's own position is neither used nor moved.
    ///
    /// # Errors
    /// The system's; `Unsupported` unless [`Transport::sends_files`] says otherwise.
    fn poll_send_file(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        file: BorrowedFd<'_>,
        offset: u64,
        count: usize,
    ) -> Poll<io::Result<usize>> {
        let _ = (context, file, offset, count);
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }
}

/// How bytes of a file get into a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSending {
    /// They are read and then written like any others.
    ByReading,
    /// The kernel moves them.
    ByKernel,
}
