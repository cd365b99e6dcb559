//! The network's side of WSGI: takes requests from the engine, keeps each until its body is there (or too large to keep), hands it
//! to where the application runs, and passes the reply on as fast as the client takes it. On the reactor's thread; never touches
//! Python.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use slab::Slab;
use worker::meter::WorkerMeter;
use worker_server::{App, BodyLength, Exchange, Last, ReplyError, RequestHead, Room, Taken};

use super::{
    chunk::Chunk,
    port::{Content, Message, Part},
    relay::{BODY_BYTES, BodyEnd, Relay},
    request::{Body, Client, Request, RequestKey},
};
use crate::{
    reactor::{Reactor, TaskKey},
    serving::Served,
};

/// Where requests go that are ready for the application.
pub(super) trait Outlet {
    /// Takes a request.
    fn put(&self, request: Request);
    /// Requests that were taken and are not over.
    fn unfinished(&self) -> usize;
    /// Somebody wants to know when there are none.
    fn announce_end(&self);
}

/// See the module.
pub(crate) struct Desk {
    reactor: &'static Reactor,
    outlet: Box<dyn Outlet>,
    meter: WorkerMeter,
    /// Body bytes that a request may bring before the application sees it.
    gathered_bytes: usize,
    entries: RefCell<Slab<Entry>>,
    next_generation: Cell<u32>,
    when_idle: RefCell<Option<Waker>>,
}

/// A request that is not over.
struct Entry {
    generation: u32,
    exchange: Exchange<Chunk>,
    relay: Arc<Relay>,
    /// The request while its body is gathered.
    gathering: Option<Request>,
    /// Parts of the reply that the engine has no room for.
    waiting: VecDeque<Part>,
    on_body: Option<TaskKey>,
    on_room: Option<TaskKey>,
}

/// Whether a request goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    Over,
}

impl Desk {
    pub(super) fn new(
        reactor: &'static Reactor,
        outlet: Box<dyn Outlet>,
        meter: WorkerMeter,
        gathered_bytes: usize,
    ) -> Rc<Self> {
        Rc::new(Self {
            reactor,
            outlet,
            meter,
            gathered_bytes,
            entries: RefCell::default(),
            next_generation: Cell::new(0),
            when_idle: RefCell::new(None),
        })
    }

    /// A message from the application's side.
    pub(super) fn take(self: &Rc<Self>, message: Message) {
        match message {
            Message::Part { key, part } => self.take_part(key, part),
            Message::BodyWanted(key) => self.receive(key),
            Message::Failed(key) => {
                self.meter.application_failed();
                if let Some(entry) = self.remove(key) {
                    entry.exchange.fail();
                }
            }
        }
    }

    /// Tells who waits for it that no request runs any more.
    pub(super) fn check_idle(&self) {
        if self.outlet.unfinished() == 0
            && let Some(waker) = self.when_idle.take()
        {
            waker.wake();
        }
    }

    fn with_entry<R>(&self, key: RequestKey, look: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        let mut entries = self.entries.borrow_mut();
        let entry = entries.get_mut(key.index as usize).filter(|entry| entry.generation == key.generation)?;
        Some(look(entry))
    }

    /// Forgets a request. What is returned is dropped without a borrow.
    fn remove(&self, key: RequestKey) -> Option<Entry> {
        self.with_entry(key, |_entry| ())?;
        let entry = self.entries.borrow_mut().remove(key.index as usize);
        for task in [entry.on_body, entry.on_room].into_iter().flatten() {
            self.reactor.cancel(task);
        }
        Some(entry)
    }

    /// The client is gone: the application's side must not wait for it.
    fn abandon(&self, key: RequestKey) {
        if let Some(entry) = self.remove(key) {
            entry.relay.change(|state| {
                state.is_gone = true;
                if state.body_end == BodyEnd::Open {
                    state.body_end = BodyEnd::Broken;
                }
            });
        }
    }

    // Requests.

    fn begin(self: &Rc<Self>, head: &RequestHead<'_>, exchange: Exchange<Chunk>, client: Arc<Client>) {
        let generation = self.next_generation.get().wrapping_add(1);
        self.next_generation.set(generation);
        let relay = Arc::new(Relay::default());
        let mut entries = self.entries.borrow_mut();
        let place = entries.vacant_entry();
        #[expect(clippy::cast_possible_truncation, reason = "memory ends before 2^32 requests")]
        let key = RequestKey { index: place.key() as u32, generation };
        let mut request = Request::copy(head, key, Arc::clone(&relay), client, Body::NONE);
        let entry = Entry {
            generation,
            exchange,
            relay,
            gathering: None,
            waiting: VecDeque::new(),
            on_body: None,
            on_room: None,
        };
        let entry = place.insert(entry);
        match head.body {
            BodyLength::None => {
                drop(entries);
                self.outlet.put(request);
            }
            BodyLength::Known(length) if length > self.gathered_bytes as u64 && expects_continue(head) => {
                // The client asks whether to send so much at all, which is for the application to say.
                request.body = Body::Streamed(Some(length));
                drop(entries);
                self.outlet.put(request);
            }
            BodyLength::Known(_) | BodyLength::Chunked => {
                request.body = Body::Whole { bytes: Vec::new(), is_announced: true };
                entry.gathering = Some(request);
                drop(entries);
                self.receive(key);
            }
        }
    }

    /// Takes what there is of a body.
    fn receive(self: &Rc<Self>, key: RequestKey) {
        while let Some(exchange) = self.with_entry(key, |entry| entry.exchange.clone()) {
            let (taken, next) = exchange.receive(|bytes| self.keep(key, bytes));
            match taken {
                Taken::Body { more: true } if next == Some(Next::GoOn) => {}
                Taken::Body { more: true } => return,
                Taken::Body { more: false } => return self.body_is_whole(key),
                Taken::Disconnected => return self.abandon(key),
                Taken::Pending => return self.wait_for_body(key, &exchange),
            }
        }
    }

    /// Keeps body bytes: in the request while it is small enough, then in the relay. Says whether more may come now.
    fn keep(&self, key: RequestKey, bytes: &[u8]) -> Next {
        let kept = self.with_entry(key, |entry| {
            let Some(mut request) = entry.gathering.take() else {
                let mut paused = Next::GoOn;
                entry.relay.change(|state| {
                    state.extend(bytes);
                    state.is_paused = state.waiting().len() >= BODY_BYTES;
                    paused = if state.is_paused { Next::Over } else { Next::GoOn };
                });
                return (paused, None);
            };
            if let Body::Whole { bytes: gathered, .. } = &mut request.body {
                gathered.extend_from_slice(bytes);
                if gathered.len() > self.gathered_bytes {
                    let gathered = std::mem::take(gathered);
                    request.body = Body::Streamed(request.announced_length());
                    entry.relay.change(|state| {
                        state.body = gathered;
                        state.is_paused = true;
                    });
                    return (Next::Over, Some(request));
                }
            }
            entry.gathering = Some(request);
            (Next::GoOn, None)
        });
        let (next, request) = kept.unwrap_or((Next::Over, None));
        if let Some(request) = request {
            self.outlet.put(request);
        }
        next
    }

    fn body_is_whole(&self, key: RequestKey) {
        let request = self.with_entry(key, |entry| {
            entry.relay.change(|state| state.body_end = BodyEnd::Reached);
            entry.gathering.take()
        });
        if let Some(request) = request.flatten() {
            self.outlet.put(request);
        }
    }

    fn wait_for_body(self: &Rc<Self>, key: RequestKey, exchange: &Exchange<Chunk>) {
        let desk = Rc::clone(self);
        let task = self.reactor.park(move || {
            desk.with_entry(key, |entry| entry.on_body = None);
            desk.receive(key);
        });
        let replaced = self.with_entry(key, |entry| entry.on_body.replace(task)).flatten();
        if let Some(replaced) = replaced {
            self.reactor.cancel(replaced);
        }
        exchange.wake_on_receive(task.waker());
    }

    // Replies.

    fn take_part(self: &Rc<Self>, key: RequestKey, part: Part) {
        let Some((exchange, is_queued)) =
            self.with_entry(key, |entry| (entry.exchange.clone(), !entry.waiting.is_empty()))
        else {
            return;
        };
        if is_queued || exchange.room() == Room::Full {
            self.with_entry(key, |entry| entry.waiting.push_back(part));
            if !is_queued {
                self.wait_for_room(key, &exchange);
            }
            return;
        }
        self.pass_on(key, &exchange, part);
    }

    /// Gives a part to the engine. A reply that is complete, or that nobody waits for, is forgotten.
    fn pass_on(&self, key: RequestKey, exchange: &Exchange<Chunk>, part: Part) -> Next {
        let Part { head, content, last } = part;
        let length = content.held_bytes();
        let begun = head.map_or(Ok(()), |head| exchange.head(head.status, head.fields()));
        let sent = begun.and_then(|()| match content {
            Content::Chunk(chunk) => exchange.body(chunk, last),
            Content::File { file, offset, count } => exchange.send_file(file, offset, count, last),
        });
        match sent {
            Ok(_room) if last == Last::Yes => {
                drop(self.remove(key));
                return Next::Over;
            }
            Ok(_room) => {
                self.with_entry(key, |entry| entry.relay.change(|state| state.unsent -= length));
                return Next::GoOn;
            }
            Err(ReplyError::Disconnected) => {}
            // The application's side has checked the head and counts the bytes; an engine that is stricter has the last word.
            Err(error) => {
                tracing::error!(?error, "the engine refused a WSGI reply");
                exchange.fail();
            }
        }
        self.abandon(key);
        Next::Over
    }

    fn wait_for_room(self: &Rc<Self>, key: RequestKey, exchange: &Exchange<Chunk>) {
        let desk = Rc::clone(self);
        let task = self.reactor.park(move || desk.send_waiting(key));
        self.with_entry(key, |entry| entry.on_room = Some(task));
        exchange.wake_on_room(task.waker());
    }

    fn send_waiting(self: &Rc<Self>, key: RequestKey) {
        let Some(exchange) = self.with_entry(key, |entry| {
            entry.on_room = None;
            entry.exchange.clone()
        }) else {
            return;
        };
        loop {
            if exchange.room() == Room::Full {
                return self.wait_for_room(key, &exchange);
            }
            let Some(part) = self.with_entry(key, |entry| entry.waiting.pop_front()).flatten() else {
                return;
            };
            if self.pass_on(key, &exchange, part) == Next::Over {
                return;
            }
        }
    }
}

fn expects_continue(head: &RequestHead<'_>) -> bool {
    head.headers.iter().any(|header| header.name == b"expect")
}

/// The desk as one connection sees it.
pub(crate) struct AtDesk {
    desk: Rc<Desk>,
    /// Who was served last: for a proxy that speaks for many it changes with each request.
    client: RefCell<Option<Arc<Client>>>,
}

impl AtDesk {
    fn client(&self, head: &RequestHead<'_>) -> Arc<Client> {
        let connection = head.seen_connection();
        if !Rc::ptr_eq(&connection, head.connection) {
            return Arc::new(Client::of(&connection));
        }
        let mut known = self.client.borrow_mut();
        Arc::clone(known.get_or_insert_with(|| Arc::new(Client::of(&connection))))
    }
}

impl App for AtDesk {
    type Chunk = Chunk;

    fn call(&self, head: &RequestHead<'_>, exchange: Exchange<Chunk>) {
        self.desk.begin(head, exchange, self.client(head));
    }
}

impl Served for Rc<Desk> {
    type App = AtDesk;

    fn of_connection(&self) -> Rc<AtDesk> {
        Rc::new(AtDesk { desk: Self::clone(self), client: RefCell::new(None) })
    }

    fn poll_idle(&self, context: &Context<'_>) -> Poll<()> {
        if self.outlet.unfinished() == 0 {
            return Poll::Ready(());
        }
        self.when_idle.replace(Some(context.waker().clone()));
        self.outlet.announce_end();
        Poll::Pending
    }

    /// Whoever waits for a client waits no longer; the application's own code cannot be broken off.
    fn cut(&self) {
        let entries = self.entries.borrow();
        let keys = entries.iter().map(|(index, entry)| {
            #[expect(clippy::cast_possible_truncation, reason = "memory ends before 2^32 requests")]
            let index = index as u32;
            RequestKey { index, generation: entry.generation }
        });
        let keys: Vec<RequestKey> = keys.collect();
        drop(entries);
        for key in keys {
            self.abandon(key);
        }
    }
}
