//! How the application's side speaks to the desk: messages one way, and waiting for what the desk will change. Inline both are on
//! one thread, and waiting means to run the reactor; on a pool's thread there is a queue between them.

#![expect(unsafe_code, reason = "waits without the interpreter")]

use std::{fs::File, sync::Arc};

use pyo3::{PyErr, Python, exceptions::PyRuntimeError};
use worker_server::Last;

use super::{
    chunk::Chunk,
    inline,
    pool::Outbox,
    relay::{Relay, State},
    reply_head::ReplyHead,
    request::RequestKey,
};

/// What the application's side tells the desk.
pub(super) enum Message {
    /// A part of a reply.
    Part {
        /// Whose.
        key: RequestKey,
        /// With the first part.
        part: Part,
    },
    /// The application took body bytes that it had to wait for, or all that waited.
    BodyWanted(RequestKey),
    /// The application failed: its reply will not become whole.
    Failed(RequestKey),
}

/// A part of a reply.
pub(super) struct Part {
    /// Comes with the first part.
    pub(super) head: Option<ReplyHead>,
    pub(super) content: Content,
    pub(super) last: Last,
}

/// Bytes of a reply's body.
pub(super) enum Content {
    /// These.
    Chunk(Chunk),
    /// A range of a file.
    File { file: File, offset: u64, count: u64 },
}

impl Content {
    /// Bytes in memory.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Self::Chunk(chunk) => chunk.length(),
            Self::File { .. } => 0,
        }
    }
}

/// The way to the desk.
#[derive(Clone)]
pub(super) enum Port {
    /// On this thread.
    Inline,
    /// On the reactor's.
    Pool(Arc<Outbox>),
}

impl Port {
    /// Sends a message. The error is Python's, for an application that calls from a thread that is not ours.
    pub(super) fn send(&self, message: Message) -> Result<(), PyErr> {
        match self {
            Self::Inline => inline::with_desk(|desk, _reactor| desk.take(message)).ok_or_else(wrong_thread),
            Self::Pool(outbox) => {
                outbox.put(message);
                Ok(())
            }
        }
    }

    /// Blocks until `is_met`. The error is Python's.
    pub(super) fn wait(
        &self,
        relay: &Relay,
        is_met: fn(&State, usize) -> bool,
        bound: usize,
    ) -> Result<(), PyErr> {
        // SAFETY: called by the application, which holds the interpreter.
        let py = unsafe { Python::assume_attached() };
        match self {
            Self::Inline => {
                while !is_met(&relay.lock(), bound) {
                    inline::with_desk(|_desk, reactor| inline::turn(py, reactor))
                        .ok_or_else(wrong_thread)??;
                }
            }
            Self::Pool(outbox) => py.detach(|| {
                outbox.waiting_for_client(|| relay.wait_until(|state| is_met(state, bound)));
            }),
        }
        Ok(())
    }
}

fn wrong_thread() -> PyErr {
    PyRuntimeError::new_err(
        "a worker of class sync serves a request on its main thread alone; use --worker-class threads to read the body or to write \
         from another thread",
    )
}
