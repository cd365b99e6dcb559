//! The body of a request as a tower service sees it: `Send`, so that frameworks accept it, while the exchange that feeds it stays
//! on the worker's thread. Between the two lies a mailbox for one chunk: nobody reads ahead of the application.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use worker_server::{BodyLength, Exchange, Taken};

/// The body of a request. Bytes are read from the client only as they are asked for.
#[derive(Debug)]
pub struct Body {
    mailbox: Option<Arc<Mutex<Mailbox>>>,
    /// Bytes still to come, where the client announced them.
    remaining: Option<u64>,
}

/// Why a body ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyError;

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client left before the end of its request body")
    }
}

impl std::error::Error for BodyError {}

/// What lies between a [`Body`], on whatever thread, and its [`BodyPump`].
#[derive(Debug, Default)]
struct Mailbox {
    chunk: Option<Bytes>,
    end: Option<Result<(), BodyError>>,
    /// The application waits for a chunk.
    reader: Option<Waker>,
    /// The pump waits for the application to want one.
    pump: Option<Waker>,
}

/// Fills a [`Body`] from its exchange, on the worker's thread.
#[derive(Debug)]
pub(super) struct BodyPump {
    mailbox: Option<Arc<Mutex<Mailbox>>>,
}

/// What a turn of the pump came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pumped {
    /// The application has something new to read: poll it again.
    Delivered,
    /// Nothing to do until a waker is called.
    Waiting,
    /// Nothing to do any more: the body was delivered to its end.
    Done,
}

/// A body and the pump that fills it.
pub(super) fn body_of(length: BodyLength) -> (Body, BodyPump) {
    let remaining = match length {
        BodyLength::None | BodyLength::Known(0) => {
            return (Body { mailbox: None, remaining: Some(0) }, BodyPump { mailbox: None });
        }
        BodyLength::Known(bytes) => Some(bytes),
        BodyLength::Chunked => None,
    };
    let mailbox = Arc::new(Mutex::new(Mailbox::default()));
    (Body { mailbox: Some(Arc::clone(&mailbox)), remaining }, BodyPump { mailbox: Some(mailbox) })
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(mailbox) = &self.mailbox else { return Poll::Ready(None) };
        let mut mailbox = lock(mailbox);
        let polled = if let Some(chunk) = mailbox.chunk.take() {
            Poll::Ready(Some(Ok(chunk)))
        } else if let Some(end) = mailbox.end {
            Poll::Ready(end.err().map(Err))
        } else {
            mailbox.reader = Some(context.waker().clone());
            // A pump on this very task has its turn as soon as the application waits.
            wake(mailbox.pump.take().filter(|pump| !pump.will_wake(context.waker())));
            Poll::Pending
        };
        drop(mailbox);
        if let (Poll::Ready(Some(Ok(chunk))), Some(remaining)) = (&polled, &mut self.remaining) {
            *remaining = remaining.saturating_sub(chunk.len() as u64);
        }
        polled.map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.mailbox.as_ref().is_none_or(|mailbox| {
            let mailbox = lock(mailbox);
            mailbox.chunk.is_none() && mailbox.end == Some(Ok(()))
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl BodyPump {
    /// Moves one chunk if the application asks for one. `context` is woken when there is more to do.
    pub(super) fn pump<C: AsRef<[u8]> + 'static>(
        &self,
        exchange: &Exchange<C>,
        context: &Context<'_>,
    ) -> Pumped {
        let Some(mailbox) = &self.mailbox else { return Pumped::Done };
        let mut mailbox = lock(mailbox);
        if mailbox.end.is_some() {
            return Pumped::Done;
        }
        if mailbox.reader.is_none() {
            mailbox.pump = Some(context.waker().clone());
            return Pumped::Waiting;
        }
        match exchange.receive(Bytes::copy_from_slice) {
            (Taken::Pending, _) => {
                exchange.wake_on_receive(context.waker().clone());
                return Pumped::Waiting;
            }
            (Taken::Body { more }, chunk) => {
                mailbox.chunk = chunk.filter(|chunk| !chunk.is_empty());
                if !more {
                    mailbox.end = Some(Ok(()));
                }
            }
            (Taken::Disconnected, _) => mailbox.end = Some(Err(BodyError)),
        }
        let reader = mailbox.reader.take();
        drop(mailbox);
        // A reader on this very task is polled again anyway.
        wake(reader.filter(|reader| !reader.will_wake(context.waker())));
        Pumped::Delivered
    }
}

impl Drop for BodyPump {
    /// The exchange is over: a reader that outlives it (a spawned task) must not wait for ever.
    fn drop(&mut self) {
        let Some(mailbox) = &self.mailbox else { return };
        let mut mailbox = lock(mailbox);
        mailbox.end.get_or_insert(Err(BodyError));
        wake(mailbox.reader.take());
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn lock(mailbox: &Mutex<Mailbox>) -> MutexGuard<'_, Mailbox> {
    mailbox.lock().unwrap_or_else(PoisonError::into_inner)
}
