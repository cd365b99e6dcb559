//! A tokio stream as the engine's transport. Knows sockets and tokio, and nothing of what is said on them.

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use nix::sys::sendfile::sendfile;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest},
    net::{TcpStream, UnixStream},
};
use worker_server::{FileSending, Transport};

/// A tokio stream, wrapped.
#[derive(Debug)]
pub(crate) struct Stream<S>(TokioIo<S>);

impl<S> Stream<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self(TokioIo::new(stream))
    }
}

impl<S: AsyncRead + Unpin> Read for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> Write for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// A stream that is a socket of the kernel's.
pub(crate) trait KernelSocket: AsyncRead + AsyncWrite + AsFd + Unpin {
    /// Ready when a write may succeed.
    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Makes a call that writes; one that would block takes the readiness back.
    fn try_to_write(&self, call: impl FnOnce() -> io::Result<usize>) -> io::Result<usize>;
}

impl KernelSocket for TcpStream {
    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_ready(context)
    }

    fn try_to_write(&self, call: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
        self.try_io(Interest::WRITABLE, call)
    }
}

impl KernelSocket for UnixStream {
    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_ready(context)
    }

    fn try_to_write(&self, call: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
        self.try_io(Interest::WRITABLE, call)
    }
}

impl<S: KernelSocket> Transport for Stream<S> {
    fn sends_files(&self) -> FileSending {
        FileSending::ByKernel
    }

    fn poll_send_file(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        file: BorrowedFd<'_>,
        offset: u64,
        count: usize,
    ) -> Poll<io::Result<usize>> {
        let socket = self.0.inner();
        // An offset beyond the kernel's range is beyond every file's end.
        let Ok(offset) = i64::try_from(offset) else { return Poll::Ready(Ok(0)) };
        loop {
            ready!(socket.poll_writable(context))?;
            let mut offset = offset;
            let call = || sendfile(socket, file, Some(&mut offset), count).map_err(io::Error::from);
            match socket.try_to_write(call) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

/// An in-memory stream is no socket.
#[cfg(test)]
impl Transport for Stream<tokio::io::DuplexStream> {}
