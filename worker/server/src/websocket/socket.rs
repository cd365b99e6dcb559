//! A WebSocket as the app holds it, from the handshake that it answers to the close. The other side is a session that some connection
//! carries: HTTP/1 after a 101, HTTP/2 in a stream.

use std::{fmt, rc::Rc, task::Waker};

use super::{
    close::{Close, NORMAL},
    handshake::Handshake,
    receiver::MessageKind,
    session::{Received, SendError, Session, SessionPhase, is_valid_close},
};
use crate::{Exchange, ReplyError, Room, Taken};

/// A WebSocket. Dropping it before it is accepted or denied answers 500; dropping an open one closes it with 1011.
pub struct WebSocket<C: AsRef<[u8]> + 'static> {
    exchange: Exchange<C>,
    session: Rc<Session<C>>,
    handshake: Handshake,
}

/// Why a handshake was not accepted. Nothing was sent: the app may accept otherwise, or deny.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptError {
    /// The client has not offered this subprotocol, and would have to fail the connection (RFC 6455 §4.1).
    UnofferedSubprotocol,
    /// A field that is invalid, or one that only the engine may send: `Sec-WebSocket-*`.
    InvalidHeader,
    /// It was accepted or denied already.
    OutOfOrder,
    /// The client is gone.
    Disconnected,
}

impl<C: AsRef<[u8]> + 'static> WebSocket<C> {
    pub(crate) fn new(exchange: Exchange<C>, session: Rc<Session<C>>, handshake: Handshake) -> Self {
        Self { exchange, session, handshake }
    }

    /// The request that asked for the WebSocket. An app that does not accept denies by replying to it.
    #[must_use]
    pub fn exchange(&self) -> &Exchange<C> {
        &self.exchange
    }

    /// What the client offers to speak, in its order; any bytes but control characters.
    pub fn subprotocols(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.handshake.subprotocols.iter().map(AsRef::as_ref)
    }

    /// Accepts the handshake. `fields` go into the answer, without those that belong to the engine: `Connection`, `Upgrade` and the
    /// framing of HTTP are dropped.
    ///
    /// # Errors
    /// [`AcceptError`].
    pub fn accept<'h>(
        &self,
        subprotocol: Option<&[u8]>,
        fields: impl Iterator<Item = (&'h [u8], &'h [u8])> + Clone,
    ) -> Result<(), AcceptError> {
        if self.session.phase() != SessionPhase::Opening {
            return Err(AcceptError::OutOfOrder);
        }
        if let Some(subprotocol) = subprotocol
            && !self.handshake.subprotocols.iter().any(|offered| **offered == *subprotocol)
        {
            return Err(AcceptError::UnofferedSubprotocol);
        }
        if fields.clone().any(|(name, _)| is_engines(name)) {
            return Err(AcceptError::InvalidHeader);
        }
        let mut extensions = Vec::new();
        if let Some(deflate) = &self.handshake.deflate {
            deflate.write(&mut extensions);
        }
        let own: [(&[u8], Option<&[u8]>); 3] = [
            (b"sec-websocket-accept", self.handshake.accept.as_ref().map(<[u8; 28]>::as_slice)),
            (b"sec-websocket-protocol", subprotocol),
            (b"sec-websocket-extensions", (!extensions.is_empty()).then_some(&*extensions)),
        ];
        let own = own.into_iter().filter_map(|(name, value)| Some((name, value?)));
        // Each field for as long as the shortest of them lives.
        let fields = fields.map(|(name, value)| -> (&[u8], &[u8]) { (name, value) });
        match self.exchange.switch_to_websocket(own.chain(fields)) {
            Ok(()) => {
                self.session.open(self.handshake.deflate.as_ref());
                Ok(())
            }
            Err(ReplyError::InvalidHeader) => Err(AcceptError::InvalidHeader),
            Err(ReplyError::Disconnected) => Err(AcceptError::Disconnected),
            Err(
                ReplyError::OutOfOrder
                | ReplyError::InvalidStatus
                | ReplyError::TooLong
                | ReplyError::TooShort,
            ) => Err(AcceptError::OutOfOrder),
        }
    }

    /// Whether the handshake was accepted.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.session.phase() != SessionPhase::Opening
    }

    /// Takes the next message. `copy` is called at most once, with its bytes (checked UTF-8 if it is text); only when
    /// [`Received::Message`] is returned. Before the handshake is accepted there is nothing but the client's leaving.
    ///
    /// A client whose messages are not taken is not read from: that is the back-pressure.
    pub fn receive<R>(&self, copy: impl FnOnce(MessageKind, &[u8]) -> R) -> Received<R> {
        if self.is_accepted() {
            return self.session.receive(copy);
        }
        match self.exchange.receive(|_body| ()).0 {
            Taken::Body { .. } | Taken::Pending if !self.exchange.is_over() => Received::Pending,
            Taken::Body { .. } | Taken::Pending | Taken::Disconnected => {
                Received::Disconnected(Close::lost())
            }
        }
    }

    /// Wakes once when [`WebSocket::receive`] would no longer be pending, or the handshake was accepted; at once if it is not. Replaces an
    /// earlier waker.
    pub fn wake_on_receive(&self, waker: Waker) {
        if self.is_accepted() {
            self.session.wake_on_receive(waker);
        } else {
            self.exchange.wake_on_receive(waker);
        }
    }

    /// Sends a message. Text must be UTF-8.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send(&self, kind: MessageKind, message: C) -> Result<Room, SendError> {
        self.session.send(kind, message)
    }

    /// Begins the close. The app hears of its own code as the end.
    ///
    /// # Errors
    /// [`SendError`]; on `InvalidClose` nothing was sent.
    pub fn close(&self, code: u16, reason: &str) -> Result<(), SendError> {
        if !is_valid_close(code, reason) {
            return Err(SendError::InvalidClose);
        }
        self.session.close(code, reason)
    }

    /// The app is done: closes with 1000, or with 1012 if it was told that the worker leaves. Harmless when it is closed already.
    pub fn finish(&self) {
        self.session.leave(NORMAL);
    }

    /// The app failed: 500 before the handshake is accepted, else 1011.
    pub fn fail(&self) {
        if self.is_accepted() {
            self.session.abandon();
        } else {
            self.exchange.fail();
        }
    }

    /// Whether the next message may be sent without waiting.
    #[must_use]
    pub fn room(&self) -> Room {
        if self.is_accepted() { self.session.room() } else { self.exchange.room() }
    }

    /// Wakes once when there is room again, or the client is gone; at once if there is room. Replaces an earlier waker.
    pub fn wake_on_room(&self, waker: Waker) {
        if self.is_accepted() {
            self.session.wake_on_room(waker);
        } else {
            self.exchange.wake_on_room(waker);
        }
    }
}

/// Fields by which the handshake itself is answered.
fn is_engines(name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"sec-websocket-";
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

impl<C: AsRef<[u8]> + 'static> Drop for WebSocket<C> {
    fn drop(&mut self) {
        self.session.abandon();
    }
}

impl<C: AsRef<[u8]> + 'static> fmt::Debug for WebSocket<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("WebSocket").field("phase", &self.session.phase()).finish_non_exhaustive()
    }
}
