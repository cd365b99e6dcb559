//! One request and its reply, as the app holds it: a mailbox between the app and the connection. Protocol-independent.
//! Never touches I/O: what it changes is seen by the connection, which it wakes when the change came from outside its turn.
//! `Chunk::as_ref` must be plain access to memory; everything else of the app's may come back here at any time.

use std::{fmt, fs::File, rc::Rc, task::Waker};

use crate::{mailbox::Mailbox, output::FileRange, stream::Stream};

/// One request and its reply. A clone is the same exchange; when the last clone is dropped the exchange is over.
/// After its end (complete, broken off or disconnected) every call is harmless and says so.
pub struct Exchange<C> {
    end: OtherEnd<C>,
}

/// Where the request came from.
enum OtherEnd<C> {
    /// HTTP/1: one cell for all requests of the connection, one after the other.
    Http1 {
        mailbox: Rc<Mailbox<C>>,
        /// Number of the request on its connection: the cell behind is used by the next one, which this handle cannot touch.
        epoch: u32,
    },
    /// HTTP/2: a cell of its own.
    Http2(Rc<Stream<C>>),
}

/// What [`Exchange::receive`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// A piece of the body, possibly empty at the end.
    Body {
        /// More will follow.
        more: bool,
    },
    /// Nothing yet: register a waker with [`Exchange::wake_on_receive`].
    Pending,
    /// The client is gone, or the reply is complete.
    Disconnected,
}

/// Whether a body part is the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last {
    /// More will follow.
    No,
    /// It completes the reply.
    Yes,
}

/// Whether the app should go on sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Go on.
    Free,
    /// The client reads slower than the app sends: wait by [`Exchange::wake_on_room`] before the next part.
    Full,
}

/// Why a reply was refused. The exchange is unharmed: the app may still send a correct one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyError {
    /// A second head, or a body without one.
    OutOfOrder,
    /// A status outside 200..=999 for a final reply.
    InvalidStatus,
    /// A header name that is no token, or a value with a control character (RFC 9110 §5.5). Also a field that must not stand in a
    /// trailer or an early hint.
    InvalidHeader,
    /// More body than the Content-Length that the head announced; nothing of the part was sent.
    TooLong,
    /// The last part came but the body is shorter than announced: the same as [`Exchange::fail`], a 500 if nothing was sent yet.
    TooShort,
    /// The client is gone or the reply is over; nothing was sent.
    Disconnected,
}

impl<C: AsRef<[u8]> + 'static> Exchange<C> {
    /// The first handle of a request that was just begun in HTTP/1.
    pub(crate) fn new(mailbox: Rc<Mailbox<C>>, epoch: u32) -> Self {
        Self { end: OtherEnd::Http1 { mailbox, epoch } }
    }

    /// The first handle of a request that was just begun in HTTP/2.
    pub(crate) fn on_stream(stream: Rc<Stream<C>>) -> Self {
        Self { end: OtherEnd::Http2(stream) }
    }

    /// Takes what there is of the body. `copy` is called at most once, with the bytes; only when [`Taken::Body`] is returned.
    /// The first call that finds nothing makes the engine send `100 Continue` if the client waits for it.
    pub fn receive<R>(&self, copy: impl FnOnce(&[u8]) -> R) -> (Taken, Option<R>) {
        match &self.end {
            OtherEnd::Http1 { mailbox, epoch } => mailbox.receive(*epoch, copy),
            OtherEnd::Http2(stream) => stream.receive(copy),
        }
    }

    /// Wakes once when [`Exchange::receive`] would no longer be pending; at once if it is not. Replaces an earlier waker.
    pub fn wake_on_receive(&self, waker: Waker) {
        match &self.end {
            OtherEnd::Http1 { mailbox, epoch } => mailbox.wake_on_receive(*epoch, waker),
            OtherEnd::Http2(stream) => stream.wake_on_receive(waker),
        }
    }

    /// Sets the reply's head. It is checked now, and leaves together with the first body part.
    /// Framing headers (content-length, transfer-encoding, connection, date, server) follow the rules of the engine: the app's
    /// `transfer-encoding` is ignored, its `date`, `server` and `content-length` are kept.
    ///
    /// # Errors
    /// [`ReplyError`]; on `InvalidStatus` and `InvalidHeader` nothing was set.
    pub fn head<'h>(
        &self,
        status: u16,
        headers: impl Iterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Result<(), ReplyError> {
        match &self.end {
            OtherEnd::Http1 { mailbox, epoch } => mailbox.head(*epoch, status, headers),
            OtherEnd::Http2(stream) => stream.head(status, headers),
        }
    }

    /// Answers the handshake of a WebSocket: 101, or what the protocol has in its place. These fields are checked as those of
    /// [`Exchange::head`]; after it the exchange is over.
    pub(crate) fn switch_to_websocket<'h>(
        &self,
        fields: impl Iterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Result<(), ReplyError> {
        match &self.end {
            OtherEnd::Http1 { mailbox, epoch } => mailbox.switch_to_websocket(*epoch, fields),
            OtherEnd::Http2(stream) => stream.switch_to_websocket(fields),
        }
    }

    /// Sends a part of the body. An empty part that is not the last sends the head alone.
    ///
    /// # Errors
    /// [`ReplyError`].
    pub fn body(&self, chunk: C, last: Last) -> Result<Room, ReplyError> {
        match &self.end {
            OtherEnd::Http1 { mailbox, epoch } => mailbox.body(*epoch, chunk, last),
            OtherEnd::Http2(stream) => stream.body(chunk, last),
        }
    }

    /// Sends `count` bytes of a regular file from `offset` on as a part of the body, by the kernel where the transport lets it.
    /// The file's own position is neither used nor moved, and the file is closed when it is sent. A file that turns out shorter
    /// breaks the reply off.
    ///
    /// # Errors
    /// [`ReplyError`], as [`Exchange::body`]; `TooLong` too for a range that no file can have.
    pub fn send_file(&self, file: File, offset: u64, count: u64, last: Last) -> Result<Room, ReplyError> {
        match &self.end {
            OtherEnd::Http1 { mailbox, epoch } => {
                mailbox.send_file(*epoch, FileRange::new(file, offset), count, last)
            }
            OtherEnd::Http2(stream) => stream.send_file(FileRange::new(file, offset), count, last),
        }
    }

    /// Ends the reply with trailer fields, in the place of a last body part. They reach a client that asked for them (see
    /// [`crate::Offers`]) if the body has no announced length, and are dropped else.
    ///
    /// # Errors
    /// [`ReplyError`]; on `InvalidHeader`, a malformed field or one that must not come late (RFC 9110 §6.5.1), nothing was sent.
    pub fn trailers<'f>(&self, fields: impl Iterator<Item = (&'f [u8], &'f [u8])>) -> Result<(), ReplyError> {
        match &self.end {
            OtherEnd::Http1 { mailbox, epoch } => mailbox.trailers(*epoch, fields),
            OtherEnd::Http2(stream) => stream.trailers(fields),
        }
    }

    /// Sends `103 Early Hints` (RFC 8297), any number of them, as long as the reply's head has not left. Dropped where the
    /// protocol knows no interim replies.
    ///
    /// # Errors
    /// [`ReplyError`]: `OutOfOrder` when the head has left, `InvalidHeader` as for [`Exchange::trailers`].
    pub fn early_hint<'f>(
        &self,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
    ) -> Result<Room, ReplyError> {
        match &self.end {
            OtherEnd::Http1 { mailbox, epoch } => mailbox.early_hint(*epoch, fields),
            OtherEnd::Http2(stream) => stream.early_hint(fields),
        }
    }

    /// Wakes once when there is room again, or the client is gone; at once if there is room. Replaces an earlier waker.
    pub fn wake_on_room(&self, waker: Waker) {
        match &self.end {
            OtherEnd::Http1 { mailbox, epoch } => mailbox.wake_on_room(*epoch, waker),
            OtherEnd::Http2(stream) => stream.wake_on_room(waker),
        }
    }

    /// Wakes once when the exchange is over: its reply is complete, or its client has left. At once if it is. Replaces an earlier
    /// waker.
    pub fn wake_when_over(&self, waker: Waker) {
        match &self.end {
            OtherEnd::Http1 { mailbox, epoch } => mailbox.wake_when_over(*epoch, waker),
            OtherEnd::Http2(stream) => stream.wake_when_over(waker),
        }
    }

    /// Whether the next part may be sent without waiting.
    #[must_use]
    pub fn room(&self) -> Room {
        match &self.end {
            OtherEnd::Http1 { mailbox, epoch } if mailbox.is_live(*epoch) => mailbox.room(),
            OtherEnd::Http1 { .. } => Room::Free,
            OtherEnd::Http2(stream) => stream.room(),
        }
    }

    /// Whether the reply's head was set.
    #[must_use]
    pub fn is_started(&self) -> bool {
        match &self.end {
            OtherEnd::Http1 { mailbox, epoch } => mailbox.is_started(*epoch),
            OtherEnd::Http2(stream) => stream.is_started(),
        }
    }

    /// Whether the reply is complete or the client gone: nothing can be sent or received any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.end.is_over()
    }

    /// The app gives up: 500 if no byte of a reply was sent (a head that was set but not sent is replaced), else the connection, in HTTP/2
    /// the stream alone, is broken off without a proper end, so that no client takes the reply for whole (HTTP/1.0 without a
    /// length has no end but the connection's, and cannot tell).
    pub fn fail(&self) {
        match &self.end {
            OtherEnd::Http1 { mailbox, epoch } => mailbox.fail(*epoch),
            OtherEnd::Http2(stream) => stream.fail(),
        }
    }
}

impl<C> OtherEnd<C> {
    fn is_over(&self) -> bool {
        match self {
            Self::Http1 { mailbox, epoch } => !mailbox.is_live(*epoch),
            Self::Http2(stream) => !stream.is_live(),
        }
    }
}

impl<C> Clone for Exchange<C> {
    fn clone(&self) -> Self {
        let end = match &self.end {
            OtherEnd::Http1 { mailbox, epoch } => {
                mailbox.add_handle(*epoch);
                OtherEnd::Http1 { mailbox: Rc::clone(mailbox), epoch: *epoch }
            }
            OtherEnd::Http2(stream) => {
                stream.add_handle();
                OtherEnd::Http2(Rc::clone(stream))
            }
        };
        Self { end }
    }
}

impl<C> Drop for Exchange<C> {
    fn drop(&mut self) {
        match &self.end {
            OtherEnd::Http1 { mailbox, epoch } => mailbox.drop_handle(*epoch),
            OtherEnd::Http2(stream) => stream.drop_handle(),
        }
    }
}

impl<C> fmt::Debug for Exchange<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Exchange").field("is_over", &self.end.is_over()).finish()
    }
}
