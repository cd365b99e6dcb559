//! A TLS server's side over any hyper I/O, by rustls as a codec: enough for a test.

use std::{
    io::{self, Read as _, Write as _},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use rustls::{ServerConfig, ServerConnection};
use worker_server::Transport;

/// Largest piece that is read at once.
const PIECE_BYTES: usize = 16 * 1024;

pub(super) struct TlsStream<Io> {
    io: Io,
    tls: ServerConnection,
}

impl<Io: Read + Write + Unpin> TlsStream<Io> {
    pub(super) fn new(io: Io, config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self { io, tls: ServerConnection::new(config)? })
    }

    /// Sends what rustls wants sent.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            let mut sink = Sink { io: &mut self.io, context };
            match self.tls.write_tls(&mut sink) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads one piece from the network into rustls. False at the end of the stream.
    fn poll_feed(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut space = [0; PIECE_BYTES];
        let mut buffer = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut self.io).poll_read(context, buffer.unfilled()))?;
        let mut piece = buffer.filled();
        if piece.is_empty() {
            return Poll::Ready(Ok(false));
        }
        while !piece.is_empty() {
            self.tls.read_tls(&mut piece)?;
            self.tls.process_new_packets().map_err(io::Error::other)?;
        }
        Poll::Ready(Ok(true))
    }
}

impl<Io: Read + Write + Unpin> Read for TlsStream<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut space = [0; PIECE_BYTES];
            let room = buffer.remaining().min(PIECE_BYTES);
            match self.tls.reader().read(&mut space[..room]) {
                Ok(length) => {
                    buffer.put_slice(&space[..length]);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            let is_sent = self.poll_send(context)?.is_ready();
            let is_open = ready!(self.poll_feed(context))?;
            if !is_open {
                return Poll::Ready(Ok(()));
            }
            if !is_sent {
                return Poll::Pending;
            }
        }
    }
}

impl<Io: Read + Write + Unpin> Write for TlsStream<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = self.tls.writer().write(bytes)?;
        let _ = self.poll_send(context)?;
        if taken == 0 { Poll::Pending } else { Poll::Ready(Ok(taken)) }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tls.send_close_notify();
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

impl<Io: Read + Write + Unpin> Transport for TlsStream<Io> {}

struct Sink<'a, 'b, Io> {
    io: &'a mut Io,
    context: &'a mut Context<'b>,
}

impl<Io: Write + Unpin> io::Write for Sink<'_, '_, Io> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match Pin::new(&mut *self.io).poll_write(self.context, bytes) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
