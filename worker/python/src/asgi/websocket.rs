//! A WebSocket as an ASGI application sees it: what `receive()` returns, and what becomes of it when the application ends. What it
//! sends is read in `websocket_message`.

#![expect(unsafe_code, reason = "C API on the message path")]

use std::cell::Cell;

use pyo3::ffi;
use worker_server::{Close, MessageKind, Received, Room, WebSocket};

use super::{
    known::{copy_dict, known, new_dict, set},
    message::Reply,
};
use crate::object::{Bytes, Owned, new_bytes, new_text};

/// The engine's WebSocket and what ASGI adds to it.
pub(super) struct Link {
    pub(super) socket: WebSocket<Bytes>,
    /// The reply by which the application denies the handshake.
    pub(super) denial: Reply,
    /// `websocket.connect` comes first, and once.
    is_introduced: Cell<bool>,
    /// The application sent `websocket.close` before it accepted.
    pub(super) is_rejected: Cell<bool>,
}

/// What is missing when an application returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Returned {
    /// Nothing.
    InOrder,
    /// An answer to the handshake.
    WithoutAnswer,
}

impl Link {
    pub(super) fn new(socket: WebSocket<Bytes>) -> Self {
        let denial = Reply::new(socket.exchange().clone());
        Self { socket, denial, is_introduced: Cell::new(false), is_rejected: Cell::new(false) }
    }

    /// The next message. None when it must wait; Some(None) with an exception set when Python failed.
    pub(super) fn receive(&self) -> Option<Option<Owned>> {
        if !self.is_introduced.replace(true) {
            return Some(copy_dict(known().websocket.connect_message.as_ptr()));
        }
        // A `str` or `bytes` is made without any code of the application.
        match self.socket.receive(|kind, message| (kind, payload(kind, message))) {
            Received::Message((kind, payload)) => Some(receive_message(kind, payload)),
            Received::Pending => None,
            Received::Disconnected(close) => Some(disconnect_message(&close)),
        }
    }

    /// Whether the next message may be sent.
    pub(super) fn has_room(&self) -> bool {
        self.socket.room() == Room::Free
    }

    /// The application returned.
    pub(super) fn returned(&self) -> Returned {
        if self.socket.is_accepted() {
            self.socket.finish();
            return Returned::InOrder;
        }
        if self.socket.exchange().is_over() {
            return Returned::InOrder;
        }
        self.socket.fail();
        Returned::WithoutAnswer
    }
}

fn payload(kind: MessageKind, message: &[u8]) -> Option<Owned> {
    match kind {
        MessageKind::Text => new_text(message),
        MessageKind::Binary => new_bytes(message),
    }
}

fn receive_message(kind: MessageKind, payload: Option<Owned>) -> Option<Owned> {
    let text = &known().text;
    let message = copy_dict(known().websocket.receive_message.as_ptr())?;
    let key = match kind {
        MessageKind::Text => text.text,
        MessageKind::Binary => text.bytes,
    };
    set(&message, key, &payload?)?;
    Some(message)
}

fn disconnect_message(close: &Close) -> Option<Owned> {
    let text = &known().text;
    let message = new_dict()?;
    set(&message, text.type_, &text.websocket_disconnect.owned())?;
    // SAFETY: the interpreter is held.
    let code = unsafe { Owned::steal(ffi::PyLong_FromLong(close.code.into()))? };
    set(&message, text.code, &code)?;
    set(&message, text.reason, &new_text(close.reason.as_bytes())?)?;
    Some(message)
}
