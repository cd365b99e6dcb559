//! The handshake: the first stage of a connection over TLS. Ends with a stream and what was agreed on, or with the connection,
//! within its time. Who speaks plain HTTP to this port is told so.

use std::{
    fmt,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use hyper::rt::{Read, ReadBuf, Write};
use rustls::{Error, InvalidMessage, ProtocolVersion, ServerConnection};

use super::{
    configuration::{Configuration, HTTP2, Tls},
    info::TlsInfo,
    stream::TlsStream,
};
use crate::{
    ConnectionInfo, Service,
    deadline::{Deadline, Expiry},
    drain::{DrainPhase, Registration},
    limits::LINGERING_CLOSE_TIMEOUT,
};

/// What a client is told that speaks HTTP where HTTPS is spoken. Nobody shows it a certificate, so it gets no redirect.
const PLAIN_HTTP_REFUSAL: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
content-length: 58\r\nconnection: close\r\n\r\nThis is an HTTPS port: write https:// in place of http://\n";
/// Read at once of what such a client still sends, to be thrown away.
const DISCARD_PIECE_BYTES: usize = 1024;

/// How a handshake ended.
#[derive(Debug, Clone, Copy)]
pub enum HandshakeEnd<'a> {
    /// The connection is secured.
    Done,
    /// It cannot be, says the text.
    Failed(fmt::Arguments<'a>),
    /// The client took too long.
    TimedOut,
    /// The client spoke HTTP without TLS.
    PlainHttp,
}

/// A handshake under way.
pub(crate) struct Handshake<Io> {
    stream: TlsStream<Io>,
    configuration: Arc<Configuration>,
    info: Rc<ConnectionInfo>,
    service: Rc<Service>,
    registration: Registration,
    deadline: Deadline,
    ends_at: Instant,
    phase: Phase,
}

/// What the stage waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The client's next message. `first` until the first bytes came.
    Shaking { first: bool },
    /// The client to take the refusal, of which so many bytes are written.
    Refusing { written: usize },
    /// The client to read it and to close.
    Lingering,
}

/// What a turn brought.
pub(crate) enum HandshakeProgress {
    /// The stage is over: [`Handshake::finish`].
    Secured(Agreed),
    /// The connection is over.
    Over,
}

/// What both sides agreed to speak (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Agreed {
    /// HTTP/1, or nothing in particular.
    Http1,
    Http2,
}

/// A connection after its handshake.
pub(crate) struct Secured<Io> {
    pub(crate) stream: TlsStream<Io>,
    /// The connection's place in the drain's count.
    pub(crate) registration: Registration,
    /// With what applications may know of the handshake.
    pub(crate) info: Rc<ConnectionInfo>,
}

impl<Io> fmt::Debug for Handshake<Io> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Handshake")
            .field("info", &self.info)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

impl<Io: Read + Write + Unpin> Handshake<Io> {
    /// Takes over a connection that was just opened.
    ///
    /// # Errors
    /// What rustls says of a configuration that it accepted before.
    pub(crate) fn new(
        io: Io,
        info: Rc<ConnectionInfo>,
        service: Rc<Service>,
        tls: &Tls,
    ) -> Result<Self, Error> {
        let configuration = tls.current();
        let session = ServerConnection::new(configuration.rustls(service.limits.http2.is_some()))?;
        Ok(Self {
            stream: TlsStream::new(io, session),
            configuration,
            info,
            registration: service.drain.register(),
            deadline: Deadline::default(),
            ends_at: service.clock.now() + tls.handshake_timeout(),
            service,
            phase: Phase::Shaking { first: true },
        })
    }

    /// After [`HandshakeProgress::Secured`]: what goes on.
    pub(crate) fn finish(self) -> Secured<Io> {
        let Self { stream, configuration, mut info, registration, .. } = self;
        Rc::make_mut(&mut info).tls = Some(TlsInfo::of(&stream.session, &configuration));
        Secured { stream, registration, info }
    }

    /// One turn.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<HandshakeProgress> {
        self.registration.set_waker(context.waker().clone());
        if self.service.drain.phase() == DrainPhase::Cut {
            return Poll::Ready(HandshakeProgress::Over);
        }
        if let Poll::Ready(progress) = self.advance(context) {
            return Poll::Ready(progress);
        }
        let now = self.service.clock.now();
        match self.deadline.watch(Some(self.ends_at), now, &*self.service.timer, context) {
            Expiry::Ahead => Poll::Pending,
            Expiry::Over => {
                if let Phase::Shaking { .. } = self.phase {
                    self.tell(HandshakeEnd::TimedOut);
                }
                Poll::Ready(HandshakeProgress::Over)
            }
        }
    }

    fn advance(&mut self, context: &mut Context<'_>) -> Poll<HandshakeProgress> {
        loop {
            match self.phase {
                Phase::Shaking { .. } => {
                    if let Some(progress) = ready!(self.shake(context)) {
                        return Poll::Ready(progress);
                    }
                }
                Phase::Refusing { written } if written < PLAIN_HTTP_REFUSAL.len() => {
                    let io = Pin::new(&mut self.stream.io);
                    match ready!(io.poll_write(context, &PLAIN_HTTP_REFUSAL[written..])) {
                        Ok(count) if count > 0 => self.phase = Phase::Refusing { written: written + count },
                        Ok(_) | Err(_) => return Poll::Ready(HandshakeProgress::Over),
                    }
                }
                Phase::Refusing { .. } => {
                    if ready!(Pin::new(&mut self.stream.io).poll_shutdown(context)).is_err() {
                        return Poll::Ready(HandshakeProgress::Over);
                    }
                    self.ends_at = self.service.clock.now() + LINGERING_CLOSE_TIMEOUT;
                    self.phase = Phase::Lingering;
                }
                Phase::Lingering => {
                    if ready!(self.discard(context)) == 0 {
                        return Poll::Ready(HandshakeProgress::Over);
                    }
                }
            }
        }
    }

    /// One step of the handshake; `None` when there may be another.
    fn shake(&mut self, context: &mut Context<'_>) -> Poll<Option<HandshakeProgress>> {
        if !self.stream.session.is_handshaking() {
            return self.conclude(context).map(Some);
        }
        if let Poll::Ready(Err(error)) = self.stream.poll_send(context) {
            return Poll::Ready(Some(self.fail(format_args!("{error}"))));
        }
        match ready!(self.stream.poll_receive(context)) {
            Ok(0) => return Poll::Ready(Some(self.fail(format_args!("the client left")))),
            Ok(_) => {}
            Err(error) => return Poll::Ready(Some(self.fail(format_args!("{error}")))),
        }
        let is_first = self.phase == Phase::Shaking { first: true };
        self.phase = Phase::Shaking { first: false };
        match self.stream.session.process_new_packets() {
            Ok(_) => Poll::Ready(None),
            Err(error) if is_first && speaks_plain_http(&error) => {
                self.tell(HandshakeEnd::PlainHttp);
                self.phase = Phase::Refusing { written: 0 };
                Poll::Ready(None)
            }
            Err(error) => {
                // The alert says why; a client that takes none has lost interest.
                let _ = self.stream.poll_send(context);
                let _ = Pin::new(&mut self.stream.io).poll_shutdown(context);
                Poll::Ready(Some(self.fail(format_args!("{error}"))))
            }
        }
    }

    /// The session is secured. In TLS 1.3 only tickets wait to be sent, which leave with the first reply.
    fn conclude(&mut self, context: &mut Context<'_>) -> Poll<HandshakeProgress> {
        if self.stream.session.protocol_version() == Some(ProtocolVersion::TLSv1_2)
            && let Err(error) = ready!(self.stream.poll_send(context))
        {
            return Poll::Ready(self.fail(format_args!("{error}")));
        }
        self.tell(HandshakeEnd::Done);
        let agreed = match self.stream.session.alpn_protocol() {
            Some(HTTP2) => Agreed::Http2,
            Some(_) | None => Agreed::Http1,
        };
        Poll::Ready(HandshakeProgress::Secured(agreed))
    }

    fn fail(&self, why: fmt::Arguments<'_>) -> HandshakeProgress {
        self.tell(HandshakeEnd::Failed(why));
        HandshakeProgress::Over
    }

    fn tell(&self, end: HandshakeEnd<'_>) {
        self.service.meter.tls_handshake_ended(&self.info.peer, end);
    }

    /// Reads and throws away; 0 at the end or when the connection broke.
    fn discard(&mut self, context: &mut Context<'_>) -> Poll<usize> {
        let mut piece = [0; DISCARD_PIECE_BYTES];
        let mut buffer = ReadBuf::new(&mut piece);
        let read = ready!(Pin::new(&mut self.stream.io).poll_read(context, buffer.unfilled()));
        Poll::Ready(if read.is_ok() { buffer.filled().len() } else { 0 })
    }
}

/// No record of TLS: in practice the letters of a method.
fn speaks_plain_http(error: &Error) -> bool {
    matches!(error, Error::InvalidMessage(InvalidMessage::InvalidContentType))
}
