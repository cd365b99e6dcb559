//! The hand-over of a connection from one stage to the next: all that outlives the protocol that spoke so far. Knows no protocol.

use std::rc::Rc;

use crate::{ConnectionInfo, Service, drain::Registration};

/// A connection between two stages.
pub(super) struct Handover<Io, A> {
    /// The transport, in good order: nothing that was written waits in it.
    pub(super) io: Io,
    /// What was read from the transport and belongs to the next stage.
    pub(super) unread: Vec<u8>,
    /// The connection's place in the drain's count; it goes along so that the count never falls in between.
    pub(super) registration: Registration,
    pub(super) info: Rc<ConnectionInfo>,
    pub(super) app: Rc<A>,
    pub(super) service: Rc<Service>,
}

impl<Io, A> Handover<Io, A> {
    /// A connection that was just opened, for its first stage.
    pub(super) fn first(io: Io, info: Rc<ConnectionInfo>, app: Rc<A>, service: Rc<Service>) -> Self {
        Self { io, unread: Vec::new(), registration: service.drain.register(), info, app, service }
    }
}

/// How a stage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StageEnd {
    /// The connection is closed.
    Closed,
    /// The connection goes on with another protocol.
    Next(NextStage),
}

/// What speaks next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextStage {
    /// What the connection begins with, now that it is known whose it is.
    First,
    /// HTTP/1; the TLS handshake is over.
    Http1,
    /// WebSocket; the handshake was answered in full.
    WebSocket,
    /// HTTP/2; the unread bytes begin with its connection preface.
    Http2,
}
