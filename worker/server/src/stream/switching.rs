//! The reply that opens a WebSocket in a stream: 200, after which the stream's DATA are the WebSocket's bytes (RFC 8441 §5). From
//! then on the request is counted and logged where the WebSocket is.

use std::rc::Rc;

use super::{Phase, Purpose, Stream};
use crate::{ReplyError, connection::websocket::MeteredHandshake, http1::reply::StatusBody};

const OK: u16 = 200;

impl<C> Stream<C> {
    pub(crate) fn switch_to_websocket<'h>(
        &self,
        fields: impl Iterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Result<(), ReplyError> {
        if !self.is_live() {
            return Err(ReplyError::Disconnected);
        }
        if self.phase.get() != Phase::Awaited || self.purpose != Purpose::WebSocket {
            return Err(ReplyError::OutOfOrder);
        }
        self.copy_fields(OK, StatusBody::Forbidden, fields)?;
        self.shared.service.stamp_fields(&mut self.fields.borrow_mut(), &self.facts.get());
        self.phase.set(Phase::Complete);
        self.switched.set(self.in_flight.take());
        self.wake_receiver();
        self.task.wake_by_ref();
        Ok(())
    }
}

/// A stream on its way from HTTP to a WebSocket. Dropping it ends the request, whether or not a WebSocket came of it.
pub(crate) struct Switched<C>(Rc<Stream<C>>);

impl<C> Switched<C> {
    pub(crate) fn new(stream: Rc<Stream<C>>) -> Self {
        Self(stream)
    }

    /// The request, as the WebSocket accounts for it.
    pub(crate) fn handshake(&self) -> Option<MeteredHandshake> {
        let stream = &self.0;
        let in_flight = stream.switched.take()?;
        stream.is_websocket.set(true);
        Some(MeteredHandshake {
            number: in_flight.number,
            status: OK,
            started: in_flight.started,
            log_entry: stream.log_entry.take(),
        })
    }
}

impl<C> Drop for Switched<C> {
    fn drop(&mut self) {
        let stream = &self.0;
        if let Some(in_flight) = stream.switched.take() {
            // The client left between the answer and the WebSocket's first turn.
            stream.in_flight.set(Some(in_flight));
            stream.end();
        } else if stream.is_websocket.take() {
            stream.shared.stream_ended();
        }
    }
}
