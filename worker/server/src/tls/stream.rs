//! A TLS session as I/O: what is read is decrypted, what is written is encrypted. rustls is the codec; when to read and send is
//! decided here, so that a reply leaves in one record and one send.

use std::{
    io::{self, BufRead as _, IoSlice, Write as _},
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use rustls::ServerConnection;

/// Encrypted bytes that are sent without waiting for a flush: a full record, beyond which coalescing gains nothing.
const SEND_BYTES: usize = 16 * 1024;

/// A session over a connection.
pub(crate) struct TlsStream<Io> {
    pub(super) io: Io,
    pub(super) session: ServerConnection,
    /// Bytes that were encrypted since all was sent.
    unsent: usize,
    closing: Closing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    NotYet,
    /// The close_notify is written or on its way.
    Told,
}

impl<Io: Read + Write + Unpin> TlsStream<Io> {
    pub(super) fn new(io: Io, session: ServerConnection) -> Self {
        Self { io, session, unsent: 0, closing: Closing::NotYet }
    }

    /// Reads once from the connection into the session; 0 at its end. What came waits for
    /// [`ServerConnection::process_new_packets`].
    pub(super) fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        would_block_is_pending(self.session.read_tls(&mut Source { io: &mut self.io, context }))
    }

    /// Sends all that the session has to send.
    pub(super) fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            let mut sink = Sink { io: &mut self.io, context };
            if ready!(would_block_is_pending(self.session.write_tls(&mut sink)))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        self.unsent = 0;
        Poll::Ready(Ok(()))
    }

    /// Copies what is decrypted; `None` if there is nothing.
    fn take_decrypted(&mut self, buffer: &mut ReadBufCursor<'_>) -> Option<io::Result<()>> {
        let mut copied = false;
        while buffer.remaining() > 0 {
            let mut reader = self.session.reader();
            let length = match reader.fill_buf() {
                Ok([]) => break,
                Ok(decrypted) => {
                    let length = decrypted.len().min(buffer.remaining());
                    buffer.put_slice(&decrypted[..length]);
                    length
                }
                Err(_nothing_more) if copied => return Some(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                // An end without close_notify: whoever cut the connection may not make a message look whole.
                Err(error) => return Some(Err(error)),
            };
            reader.consume(length);
            copied = true;
        }
        Some(Ok(()))
    }

    /// Encrypts as much as there is room for, by `write`.
    fn poll_encrypt(
        &mut self,
        context: &mut Context<'_>,
        length: usize,
        mut write: impl FnMut(&mut rustls::Writer<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let taken = write(&mut self.session.writer())?;
            if taken == 0 && length > 0 {
                // Full: what is encrypted must leave first.
                ready!(self.poll_send(context))?;
                continue;
            }
            self.unsent += taken;
            if self.unsent >= SEND_BYTES {
                // What the socket does not take now is sent by the next write or flush.
                let _ = self.poll_send(context)?;
            }
            return Poll::Ready(Ok(taken));
        }
    }
}

impl<Io: Read + Write + Unpin> Read for TlsStream<Io> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if let Some(result) = this.take_decrypted(&mut buffer) {
                return Poll::Ready(result);
            }
            ready!(this.poll_receive(context))?;
            if let Err(error) = this.session.process_new_packets() {
                // The alert says why; a client that takes none has lost interest.
                let _ = this.poll_send(context);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
        }
    }
}

impl<Io: Read + Write + Unpin> Write for TlsStream<Io> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_encrypt(context, bytes.len(), |writer| writer.write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = parts.iter().map(|part| part.len()).sum();
        self.get_mut().poll_encrypt(context, length, |writer| writer.write_vectored(parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(context))?;
        Pin::new(&mut this.io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.closing == Closing::NotYet {
            this.session.send_close_notify();
            this.closing = Closing::Told;
        }
        ready!(this.poll_send(context))?;
        Pin::new(&mut this.io).poll_shutdown(context)
    }
}

fn would_block_is_pending<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        done => Poll::Ready(done),
    }
}

/// The connection as rustls reads it.
struct Source<'a, 'b, Io> {
    io: &'a mut Io,
    context: &'a mut Context<'b>,
}

impl<Io: Read + Unpin> io::Read for Source<'_, '_, Io> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(bytes);
        match Pin::new(&mut *self.io).poll_read(self.context, buffer.unfilled()) {
            Poll::Ready(result) => result.map(|()| buffer.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// The connection as rustls writes it.
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

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let io = Pin::new(&mut *self.io);
        let written = match parts {
            [only] => io.poll_write(self.context, only),
            parts => io.poll_write_vectored(self.context, parts),
        };
        match written {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
