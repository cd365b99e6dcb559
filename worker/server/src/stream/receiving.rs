//! The request's body: taken from hyper one DATA frame ahead of the app, so that the client's window opens as the app receives.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::body::{Body, Incoming};

use super::{Delivery, Stream};
use crate::{Taken, TimeLimit};

/// What is known of the body's next part.
#[derive(Debug)]
pub(super) enum Ahead {
    /// Nothing.
    Unknown,
    /// Bytes that wait for the app.
    Data { bytes: Bytes, more: bool },
    /// The body is over, and the app has not been told.
    End,
    /// The client has broken it off.
    Broken,
}

impl<C> Stream<C> {
    pub(crate) fn receive<R>(&self, copy: impl FnOnce(&[u8]) -> R) -> (Taken, Option<R>) {
        if !self.is_live() {
            return (Taken::Disconnected, None);
        }
        if self.delivery.get() == Delivery::Done {
            return (Taken::Pending, None);
        }
        self.look_ahead();
        let ahead = self.ahead.replace(Ahead::Unknown);
        let (bytes, more) = match ahead {
            Ahead::Unknown => return (Taken::Pending, None),
            Ahead::Data { bytes, more } => (bytes, more),
            Ahead::End => (Bytes::new(), false),
            Ahead::Broken => {
                drop(self.ahead.replace(Ahead::Broken));
                return (Taken::Disconnected, None);
            }
        };
        if !more {
            self.delivery.set(Delivery::Done);
        }
        (Taken::Body { more }, Some(copy(&bytes)))
    }

    pub(crate) fn wake_on_receive(&self, waker: Waker) {
        if !self.is_live() || !self.is_receiving_pending() {
            waker.wake();
            return;
        }
        if self.delivery.get() == Delivery::Open {
            let now = self.shared.service.clock.now();
            self.receiving_since.set(Some(now));
            self.shared.limit(now, self.shared.service.limits.body_read_timeout);
            let mut pace = self.pace.get();
            pace.wait(now);
            self.pace.set(pace);
            if let Some(limit) = self.rate_limit() {
                self.shared.limit(limit, Duration::ZERO);
            }
        }
        drop(self.receive_waker.replace(Some(waker)));
    }

    /// The stream's task was woken: tells the app if that concerns it.
    pub(crate) fn attend(&self) {
        if let Some(waker) = self.receive_waker.take() {
            if self.is_live() && self.is_receiving_pending() {
                self.receive_waker.set(Some(waker));
            } else {
                self.stop_waiting();
                waker.wake();
            }
        }
        if !self.is_live() {
            drop(self.permit.take());
        }
        self.attend_sender();
    }

    /// The app does not wait for the body any more.
    pub(super) fn stop_waiting(&self) {
        // Time is asked for only where it matters.
        if self.receiving_since.take().is_some() && self.shared.service.limits.body_bytes_per_second.is_some()
        {
            let mut pace = self.pace.get();
            pace.rest(self.shared.service.clock.now());
            self.pace.set(pace);
        }
    }

    /// When the body that the app waits for becomes too slow.
    fn rate_limit(&self) -> Option<Instant> {
        let rate = self.shared.service.limits.body_bytes_per_second?;
        self.pace.get().limit(self.request_bytes.get(), Some(rate))
    }

    /// Which time limit of the body that the app waits for is over.
    pub(super) fn body_overdue(&self, now: Instant) -> Option<TimeLimit> {
        let since = self.receiving_since.get()?;
        let timeout = self.shared.service.limits.body_read_timeout;
        if since.checked_add(timeout).is_some_and(|limit| now >= limit) {
            return Some(TimeLimit::BodyRead);
        }
        self.shared.limit(since, timeout);
        let limit = self.rate_limit()?;
        if now >= limit {
            return Some(TimeLimit::BodyRate);
        }
        self.shared.limit(limit, Duration::ZERO);
        None
    }

    fn is_receiving_pending(&self) -> bool {
        if self.delivery.get() == Delivery::Done {
            return true;
        }
        self.look_ahead();
        matches!(*self.ahead.borrow(), Ahead::Unknown)
    }

    /// Asks hyper for the next part of the body, unless one waits already.
    fn look_ahead(&self) {
        let mut ahead = self.ahead.borrow_mut();
        if !matches!(*ahead, Ahead::Unknown) {
            return;
        }
        let mut incoming = self.incoming.borrow_mut();
        let Some(incoming) = incoming.as_mut() else { return };
        *ahead = next_part(incoming, &mut Context::from_waker(&self.task));
        let Ahead::Data { bytes, .. } = &*ahead else { return };
        let received = self.request_bytes.get() + bytes.len() as u64;
        self.request_bytes.set(received);
        if self.shared.service.limits.body_bytes.is_some_and(|limit| received > limit) {
            *ahead = Ahead::Broken;
            self.fail_with(413);
        }
    }
}

fn next_part(incoming: &mut Incoming, context: &mut Context<'_>) -> Ahead {
    loop {
        let frame = match Pin::new(&mut *incoming).poll_frame(context) {
            Poll::Pending => return Ahead::Unknown,
            // hyper takes a reset without an error for the end; the body's end it is only if the client has ended the stream.
            Poll::Ready(None) if incoming.is_end_stream() => return Ahead::End,
            Poll::Ready(None | Some(Err(_))) => return Ahead::Broken,
            Poll::Ready(Some(Ok(frame))) => frame,
        };
        // Trailers are dropped, as in HTTP/1.
        if let Ok(bytes) = frame.into_data() {
            let more = !incoming.is_end_stream();
            if !bytes.is_empty() || !more {
                return Ahead::Data { bytes, more };
            }
        }
    }
}
