//! What the app's side ([`crate::Exchange`]) and the connection share: one cell for all requests of a connection. The app's
//! calls change it and wake the connection; the connection moves bytes in and out. Never touches I/O.
//!
//! No borrow is held while foreign code runs that could come back here: `App::call`, wakers, drops of chunks, and the iterator of
//! a reply's fields.

mod replying;
mod switching;

pub(crate) use self::switching::SWITCHING_PROTOCOLS;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::Waker,
};

pub(crate) use self::replying::{Closes, Reply, ReplyPhase};
use crate::{
    Room, Service, Taken, Version,
    access_log::{Entry, RequestFacts},
    gate::Permit,
    http1::{
        chunked::BodyEnd,
        head::{Expectation, Persistence, Trailers},
    },
    inbound::Inbound,
    limits::OUTPUT_HIGH_WATER_BYTES,
    output::Output,
};

/// The shared cell.
pub(crate) struct Mailbox<C> {
    pub(crate) service: Rc<Service>,
    /// Number of the current request; a handle of an earlier one is powerless.
    epoch: Cell<u32>,
    /// Clones of the current request's handle.
    handles: Cell<u32>,
    turn: Cell<Turn>,
    connection: RefCell<Option<Waker>>,
    receive_waker: Cell<Option<Waker>>,
    room_waker: Cell<Option<Waker>>,
    over_waker: Cell<Option<Waker>>,
    request: Cell<RequestTraits>,
    reply: Cell<Reply>,
    delivery: Cell<Delivery>,
    /// The line of the access log for the current request.
    log_entry: Cell<Option<Box<Entry>>>,
    /// The current request's place with the app, where places are counted.
    permit: Cell<Option<Permit>>,
    pub(crate) inbound: RefCell<Inbound>,
    pub(crate) output: RefCell<Output<C>>,
}

/// Where the connection is in its own turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// It sleeps: a change must wake it.
    Asleep,
    /// It sleeps and was woken.
    Woken,
    /// It runs and has seen every change.
    Running,
    /// It runs and must look again before it sleeps.
    Changed,
}

/// What of a request the reply depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestTraits {
    pub(crate) version: Version,
    pub(crate) persistence: Persistence,
    pub(crate) expectation: Expectation,
    pub(crate) trailers: Trailers,
    pub(crate) reply_body: ReplyBody,
}

/// Whether the method lets the reply have a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplyBody {
    /// It does.
    Sent,
    /// HEAD: the reply ends with its head.
    Withheld,
}

/// How far the app has received the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    /// The app has not been told of its end.
    Open,
    /// The same, and the connection stopped reading because the app does not receive.
    Paused,
    /// The app was told of its end.
    Done,
}

impl<C> Mailbox<C> {
    pub(crate) fn new(service: Rc<Service>) -> Self {
        Self {
            service,
            epoch: Cell::new(0),
            handles: Cell::new(0),
            turn: Cell::new(Turn::Asleep),
            connection: RefCell::new(None),
            receive_waker: Cell::new(None),
            room_waker: Cell::new(None),
            over_waker: Cell::new(None),
            request: Cell::new(RequestTraits {
                version: Version::Http11,
                persistence: Persistence::Close,
                expectation: Expectation::None,
                trailers: Trailers::Unwanted,
                reply_body: ReplyBody::Sent,
            }),
            reply: Cell::new(Reply::new(ReplyPhase::Over)),
            delivery: Cell::new(Delivery::Open),
            log_entry: Cell::new(None),
            permit: Cell::new(None),
            inbound: RefCell::default(),
            output: RefCell::default(),
        }
    }

    // The connection's side.

    /// The connection's turn begins. Returns whether its waker is another than before.
    pub(crate) fn begin_turn(&self, waker: &Waker) -> bool {
        self.turn.set(Turn::Running);
        let mut connection = self.connection.borrow_mut();
        if connection.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return false;
        }
        let replaced = connection.replace(waker.clone());
        drop(connection);
        drop(replaced);
        true
    }

    /// Whether the app changed something since this was last asked.
    pub(crate) fn take_changed(&self) -> bool {
        self.turn.replace(Turn::Running) == Turn::Changed
    }

    /// The connection's turn is over.
    pub(crate) fn end_turn(&self) {
        self.turn.set(Turn::Asleep);
    }

    /// Begins an exchange and returns its number.
    pub(crate) fn begin(&self, request: RequestTraits) -> u32 {
        let epoch = self.epoch.get().wrapping_add(1);
        self.epoch.set(epoch);
        self.handles.set(1);
        self.request.set(request);
        self.reply.set(Reply::new(ReplyPhase::Awaited));
        self.delivery.set(Delivery::Open);
        epoch
    }

    /// Begins the request's line in the access log, if there is a log.
    pub(crate) fn begin_log_entry(&self, facts: &RequestFacts<'_>) {
        if let Some(log) = self.service.access_log() {
            self.log_entry.set(Some(log.begin(facts)));
        }
    }

    /// The request's line, for whoever writes it.
    pub(crate) fn take_log_entry(&self) -> Option<Box<Entry>> {
        self.log_entry.take()
    }

    /// The next request has a place with the app, until [`Mailbox::finish`].
    pub(crate) fn hold(&self, permit: Permit) {
        self.permit.set(Some(permit));
    }

    /// Whether the next request has its place.
    pub(crate) fn is_admitted(&self) -> bool {
        let permit = self.permit.take();
        let is_admitted = permit.is_some();
        self.permit.set(permit);
        is_admitted
    }

    /// Gives the place to whoever waits for it.
    pub(crate) fn give_way(&self) {
        drop(self.permit.take());
    }

    /// The reply so far.
    pub(crate) fn reply(&self) -> Reply {
        self.reply.get()
    }

    /// The current request.
    pub(crate) fn request(&self) -> RequestTraits {
        self.request.get()
    }

    /// Ends the exchange: from now on the app hears that it is over.
    pub(crate) fn finish(&self) {
        self.set_phase(ReplyPhase::Over);
        self.output.borrow_mut().discard_held();
        self.give_way();
        self.wake_receiver();
        self.wake_sender();
        if let Some(waker) = self.over_waker.take() {
            waker.wake();
        }
    }

    /// The connection stops reading until the app receives.
    pub(crate) fn pause(&self) {
        if self.delivery.get() == Delivery::Open {
            self.delivery.set(Delivery::Paused);
        }
    }

    /// Whether the client may wait for a `100 Continue` before it sends its body, because the app has not asked for it.
    pub(crate) fn awaits_invitation(&self) -> bool {
        self.request.get().expectation == Expectation::Continue
    }

    /// Whether the connection waits for the app to receive.
    pub(crate) fn is_paused(&self) -> bool {
        self.delivery.get() == Delivery::Paused
    }

    /// Wakes an app that waits to receive.
    pub(crate) fn wake_receiver(&self) {
        if let Some(waker) = self.receive_waker.take() {
            waker.wake();
        }
    }

    /// Wakes an app that waits for room.
    pub(crate) fn wake_sender(&self) {
        if let Some(waker) = self.room_waker.take() {
            waker.wake();
        }
    }

    // The app's side.

    /// Whether `epoch` is the current request's and it is not over.
    pub(crate) fn is_live(&self, epoch: u32) -> bool {
        self.epoch.get() == epoch
            && match self.reply.get().phase {
                ReplyPhase::Awaited | ReplyPhase::Heading | ReplyPhase::Held | ReplyPhase::Streaming(_) => {
                    true
                }
                ReplyPhase::Complete
                | ReplyPhase::Switched
                | ReplyPhase::Failed
                | ReplyPhase::Broken
                | ReplyPhase::Over => false,
            }
    }

    /// A handle was cloned.
    pub(crate) fn add_handle(&self, epoch: u32) {
        if self.epoch.get() == epoch {
            self.handles.set(self.handles.get() + 1);
        }
    }

    /// A handle was dropped; the last one of an unfinished reply gives it up.
    pub(crate) fn drop_handle(&self, epoch: u32) {
        if self.epoch.get() == epoch {
            self.handles.set(self.handles.get() - 1);
            if self.handles.get() == 0 {
                self.fail(epoch);
            }
        }
    }

    pub(crate) fn fail(&self, epoch: u32) {
        if !self.is_live(epoch) {
            return;
        }
        let is_begun = matches!(self.reply.get().phase, ReplyPhase::Streaming(_));
        self.set_phase(if is_begun { ReplyPhase::Broken } else { ReplyPhase::Failed });
        self.notify();
    }

    pub(crate) fn is_started(&self, epoch: u32) -> bool {
        self.epoch.get() != epoch || self.reply.get().phase != ReplyPhase::Awaited
    }

    pub(crate) fn receive<R>(&self, epoch: u32, copy: impl FnOnce(&[u8]) -> R) -> (Taken, Option<R>) {
        if !self.is_live(epoch) {
            return (Taken::Disconnected, None);
        }
        if self.delivery.get() == Delivery::Done {
            return (Taken::Pending, None);
        }
        let inbound = self.inbound.borrow();
        let taken = inbound.take_body();
        let end = inbound.body_end();
        if taken.is_empty() && end == BodyEnd::Open {
            drop(inbound);
            self.invite_body();
            return (Taken::Pending, None);
        }
        // Noted before the bytes are copied: the copy may come back here.
        let was_paused = self.is_paused();
        self.delivery.set(match end {
            BodyEnd::Reached => Delivery::Done,
            BodyEnd::Open => Delivery::Open,
        });
        let copied = copy(inbound.slice(taken));
        drop(inbound);
        if was_paused {
            self.notify();
        }
        (Taken::Body { more: end == BodyEnd::Open }, Some(copied))
    }

    /// Sends `100 Continue` to a client that waits for it, unless a reply is on its way. A head that is held back lets it pass.
    fn invite_body(&self) {
        let mut request = self.request.get();
        let is_begun = !matches!(self.reply.get().phase, ReplyPhase::Awaited | ReplyPhase::Held);
        if request.expectation == Expectation::None || is_begun {
            return;
        }
        request.expectation = Expectation::None;
        self.request.set(request);
        self.send_interim(b"HTTP/1.1 100 Continue\r\n\r\n");
    }

    /// Sends a whole interim reply before the final one.
    fn send_interim(&self, reply: &[u8]) {
        let mut output = self.output.borrow_mut();
        self.service.prepare(output.bytes());
        output.insert(reply);
        drop(output);
        self.notify();
    }

    pub(crate) fn wake_on_receive(&self, epoch: u32, waker: Waker) {
        let is_pending = self.is_live(epoch) && {
            let inbound = self.inbound.borrow();
            self.delivery.get() == Delivery::Done
                || (inbound.body_length() == 0 && inbound.body_end() == BodyEnd::Open)
        };
        if is_pending {
            drop(self.receive_waker.replace(Some(waker)));
        } else {
            waker.wake();
        }
    }

    pub(crate) fn wake_when_over(&self, epoch: u32, waker: Waker) {
        if self.is_live(epoch) {
            drop(self.over_waker.replace(Some(waker)));
        } else {
            waker.wake();
        }
    }

    pub(crate) fn wake_on_room(&self, epoch: u32, waker: Waker) {
        if self.is_live(epoch) && self.room() == Room::Full {
            drop(self.room_waker.replace(Some(waker)));
        } else {
            waker.wake();
        }
    }

    pub(crate) fn room(&self) -> Room {
        if self.output.borrow().waiting() < OUTPUT_HIGH_WATER_BYTES { Room::Free } else { Room::Full }
    }

    fn set_phase(&self, phase: ReplyPhase) {
        self.reply.set(Reply { phase, ..self.reply.get() });
    }

    /// Makes the connection look at what changed.
    fn notify(&self) {
        match self.turn.get() {
            Turn::Asleep => {
                self.turn.set(Turn::Woken);
                let waker = self.connection.borrow().clone();
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Turn::Running => self.turn.set(Turn::Changed),
            Turn::Woken | Turn::Changed => {}
        }
    }
}
