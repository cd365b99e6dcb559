//! The one object that an application gets as both `receive` and `send`: called without an argument it receives, with one it
//! sends. Stands between the engine's exchange and the awaitables.

#![expect(unsafe_code, reason = "C API on the request path")]

use std::{
    cell::{Cell, OnceCell, RefCell},
    ffi::c_void,
    ptr,
};

use pyo3::ffi::{self, PyObject};
use worker_server::{Exchange, Room, Taken};

use super::{
    known::{Immortal, copy_dict, known, set},
    message::{self, Reply, Sent},
    wait::{Done, Pause, Wait},
    websocket::{self, Returned},
    websocket_message,
};
use crate::{
    coroutine::none,
    native_type::{NativeType, refuse_instantiation, slot, vectorcall_member},
    object::{Bytes, Owned, at_edge, keeping_exception, new_bytes},
    reactor::{Reactor, TaskKey},
};

/// Messages to nobody, of all applications together, after which the loop has its turn: an application that goes on without its client
/// never waits for anything else, and would keep the loop from the others.
const SENT_NOWHERE_PER_TURN: u32 = 16;

static CHANNEL: NativeType<Channel> = NativeType::new();

thread_local! {
    /// The objects that only the loop's thread uses.
    static LOOP_OBJECTS: OnceCell<LoopObjects> = const { OnceCell::new() };
}

/// Never freed: the thread's end comes after the interpreter's.
struct LoopObjects {
    /// Bound method `loop.create_future`.
    create_future: Immortal,
    /// The awaitable that is complete.
    done: Immortal,
    /// Messages to nobody since the loop last had its turn for them.
    sent_nowhere: Cell<u32>,
}

/// Makes the type and what its objects share on this thread. None with an exception when Python refused.
pub(super) fn prepare(create_future: Owned) -> Option<()> {
    let slots = vec![
        slot(ffi::Py_tp_dealloc, deallocate as *const c_void),
        slot(ffi::Py_tp_new, refuse_instantiation as *const c_void),
        slot(ffi::Py_tp_call, ffi::PyVectorcall_Call as *const c_void),
        slot(ffi::Py_tp_members, vectorcall_member::<Channel>()),
        slot(0, ptr::null()),
    ];
    // SAFETY: the interpreter is held; the slots fit a type with a vectorcall entry and end with a zero slot.
    let done = unsafe {
        if !CHANNEL.make(c"worker_python.Channel", ffi::Py_TPFLAGS_HAVE_VECTORCALL, slots) {
            return None;
        }
        Owned::steal(Done::object())?
    };
    let objects = LoopObjects {
        create_future: Immortal::new(create_future),
        done: Immortal::new(done),
        sent_nowhere: Cell::new(0),
    };
    LOOP_OBJECTS.with(|place| place.set(objects).ok())
}

/// What an awaitable waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// A message for the application.
    Receive,
    /// Room for more of the reply.
    Send,
}

/// What an application that returned has left undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undone {
    /// It has not started a response.
    Response,
    /// It has not completed its response.
    Body,
    /// It has neither accepted nor denied a WebSocket.
    Handshake,
}

/// The content of the object.
pub(super) struct Channel {
    link: Link,
    receiving: Waiters,
    sending: Waiters,
}

/// What is on the other side.
enum Link {
    /// A request.
    Http(Reply),
    /// A WebSocket.
    WebSocket(Box<websocket::Link>),
}

/// Futures of awaitables that wait for the same thing. The engine wakes one waker, which wakes all of them; each tries again.
#[derive(Default)]
struct Waiters {
    futures: RefCell<Vec<Owned>>,
    parked: Cell<Option<TaskKey>>,
}

impl Channel {
    /// Makes the object; None with an exception when there is no memory.
    pub(super) fn object(exchange: Exchange<Bytes>) -> Option<Owned> {
        Self::linked(Link::Http(Reply::new(exchange)))
    }

    /// Makes the object of a WebSocket; None with an exception when there is no memory.
    pub(super) fn websocket_object(link: websocket::Link) -> Option<Owned> {
        Self::linked(Link::WebSocket(Box::new(link)))
    }

    fn linked(link: Link) -> Option<Owned> {
        let channel = Self { link, receiving: Waiters::default(), sending: Waiters::default() };
        // SAFETY: the interpreter is held and the type was made.
        unsafe { Owned::steal(CHANNEL.object(Some(call), channel)) }
    }

    /// The application returned. Says what it has left undone, if anything; the engine answers for it.
    pub(super) fn returned(&self) -> Option<Undone> {
        match &self.link {
            Link::Http(reply) if reply.exchange.is_over() => None,
            Link::Http(reply) => {
                let undone = if reply.exchange.is_started() { Undone::Body } else { Undone::Response };
                reply.exchange.fail();
                Some(undone)
            }
            Link::WebSocket(link) => match link.returned() {
                Returned::InOrder => None,
                Returned::WithoutAnswer => Some(Undone::Handshake),
            },
        }
    }

    /// The application failed, or will never go on.
    pub(super) fn fail(&self) {
        match &self.link {
            Link::Http(reply) => reply.exchange.fail(),
            Link::WebSocket(link) => link.socket.fail(),
        }
    }

    /// Tries to complete. None when it must wait; Some(None) with an exception set when Python failed.
    pub(super) fn attempt(&self, direction: Direction) -> Option<Option<Owned>> {
        match (&self.link, direction) {
            (Link::Http(Reply { exchange, .. }), Direction::Receive) => {
                let (taken, body) = exchange.receive(|bytes| {
                    if bytes.is_empty() { Some(known().empty_bytes.owned()) } else { new_bytes(bytes) }
                });
                match taken {
                    Taken::Body { more } => Some(request_message(body.flatten(), more)),
                    Taken::Pending => None,
                    Taken::Disconnected => Some(copy_dict(known().disconnect_message.as_ptr())),
                }
            }
            (Link::Http(reply), Direction::Send) if reply.exchange.is_over() => {
                Some(message::raising(reply.without_client()).map(|_| none()))
            }
            (Link::Http(Reply { exchange, .. }), Direction::Send) => {
                (exchange.room() == Room::Free).then(|| Some(none()))
            }
            (Link::WebSocket(link), Direction::Receive) => link.receive(),
            (Link::WebSocket(link), Direction::Send) => link.has_room().then(|| Some(none())),
        }
    }

    /// Cancels the request's task when its client leaves before the reply is complete.
    pub(super) fn cancel_with_client(this: &Owned, task: Owned, reactor: &Reactor) {
        // SAFETY: the reference is to a channel object, which `this` keeps alive.
        let channel: &Self = unsafe { NativeType::<Self>::content(this.as_ptr()) };
        let Link::Http(reply) = &channel.link else { return };
        let channel_object = this.clone();
        let key = reactor.park(move || {
            // SAFETY: a channel object, which the closure keeps alive.
            let channel: &Self = unsafe { NativeType::<Self>::content(channel_object.as_ptr()) };
            if matches!(&channel.link, Link::Http(reply) if !reply.is_complete()) {
                // SAFETY: a living task; a turn of the reactor holds the interpreter.
                unsafe {
                    drop(Owned::steal(ffi::PyObject_CallMethod(
                        task.as_ptr(),
                        c"cancel".as_ptr(),
                        ptr::null(),
                    )));
                    ffi::PyErr_Clear();
                }
            }
        });
        reply.exchange.wake_when_over(key.waker());
    }

    /// A future that is done when [`Self::attempt`] may succeed. None with an exception set.
    pub(super) fn wait(this: &Owned, direction: Direction) -> Option<Owned> {
        // SAFETY: the reference is to a channel object, which `this` keeps alive; the called method is alive.
        let (channel, future) = unsafe {
            let channel = NativeType::<Self>::content(this.as_ptr());
            let future = LOOP_OBJECTS.with(|objects| {
                objects.get().map(|objects| ffi::PyObject_CallNoArgs(objects.create_future.as_ptr()))
            });
            (channel, future)
        };
        let (Some(future), Some(reactor)) = (future, Reactor::current()) else {
            return raise_wrong_thread();
        };
        // SAFETY: what the call returned.
        let future = unsafe { Owned::steal(future)? };
        let waiters = channel.waiters(direction);
        waiters.futures.borrow_mut().push(future.clone());
        if waiters.parked.get().is_none() {
            let channel_object = this.clone();
            let key = reactor.park(move || {
                // SAFETY: a channel object, which the closure keeps alive.
                let channel: &Self = unsafe { NativeType::<Self>::content(channel_object.as_ptr()) };
                channel.waiters(direction).wake();
            });
            waiters.parked.set(Some(key));
            match (&channel.link, direction) {
                (Link::Http(reply), Direction::Receive) => reply.exchange.wake_on_receive(key.waker()),
                (Link::Http(reply), Direction::Send) => reply.exchange.wake_on_room(key.waker()),
                (Link::WebSocket(link), Direction::Receive) => link.socket.wake_on_receive(key.waker()),
                (Link::WebSocket(link), Direction::Send) => link.socket.wake_on_room(key.waker()),
            }
        }
        Some(future)
    }

    /// A waiter was cancelled.
    pub(super) fn forget_waiter(&self, direction: Direction, future: &Owned) {
        let mut futures = self.waiters(direction).futures.borrow_mut();
        let place = futures.iter().position(|waiting| waiting.as_ptr() == future.as_ptr());
        // Dropped after the borrow: the end of a future may run code.
        let forgotten = place.map(|place| futures.swap_remove(place));
        drop(futures);
        drop(forgotten);
    }

    fn waiters(&self, direction: Direction) -> &Waiters {
        match direction {
            Direction::Receive => &self.receiving,
            Direction::Send => &self.sending,
        }
    }

    fn send(&self, this: *mut PyObject, message: *mut PyObject) -> *mut PyObject {
        // SAFETY: Python passes living objects.
        let sent = unsafe {
            match &self.link {
                Link::Http(reply) => message::send(reply, message),
                Link::WebSocket(link) => message::raising(websocket_message::take(link, message)),
            }
        };
        match sent {
            // SAFETY: as above.
            Some(Sent::Full) => Wait::object(unsafe { Owned::borrow(this) }, Direction::Send),
            Some(Sent::Done) => done(),
            Some(Sent::Nowhere) => sent_nowhere(),
            None => ptr::null_mut(),
        }
    }
}

impl Waiters {
    /// Completes all futures. Runs in a turn of the reactor, so the loop calls their waiters in its next round.
    fn wake(&self) {
        self.parked.set(None);
        let futures = std::mem::take(&mut *self.futures.borrow_mut());
        for future in futures {
            let text = &known().text;
            let end = ptr::null_mut::<PyObject>();
            // SAFETY: a living asyncio future and names, and null after the last argument; the interpreter is held. The future may have
            // been cancelled since.
            unsafe {
                let is_done = ffi::PyObject_CallMethodObjArgs(future.as_ptr(), text.done.as_ptr(), end);
                let is_done = Owned::steal(is_done);
                if is_done.is_some_and(|is_done| is_done.as_ptr() == ffi::Py_False()) {
                    drop(Owned::steal(ffi::PyObject_CallMethodObjArgs(
                        future.as_ptr(),
                        text.set_result.as_ptr(),
                        ffi::Py_None(),
                        end,
                    )));
                }
                // The loop is closed: nobody waits any more.
                ffi::PyErr_Clear();
            }
        }
    }
}

fn done() -> *mut PyObject {
    let done = LOOP_OBJECTS.with(|objects| objects.get().map(|objects| objects.done.owned()));
    // On another thread, which shares nothing with the loop's.
    done.map_or_else(Done::object, Owned::into_ptr)
}

/// Complete at once, but for one in so many, which lets the loop turn.
fn sent_nowhere() -> *mut PyObject {
    let is_turn = LOOP_OBJECTS.with(|objects| {
        objects.get().is_some_and(|objects| {
            let sent = objects.sent_nowhere.get() + 1;
            objects.sent_nowhere.set(sent % SENT_NOWHERE_PER_TURN);
            sent == SENT_NOWHERE_PER_TURN
        })
    });
    if is_turn { Pause::object() } else { done() }
}

fn raise_wrong_thread() -> Option<Owned> {
    // SAFETY: the interpreter is held.
    unsafe {
        ffi::PyErr_SetString(
            ffi::PyExc_RuntimeError,
            c"receive() and send() can only wait on the worker's event loop; from another thread use asyncio.run_coroutine_threadsafe()"
                .as_ptr(),
        );
    }
    None
}

fn request_message(body: Option<Owned>, more: bool) -> Option<Owned> {
    let body = body?;
    let known = known();
    let message = copy_dict(known.request_message.as_ptr())?;
    if body.as_ptr() != known.empty_bytes.as_ptr() {
        set(&message, known.text.body, &body)?;
    }
    if more {
        // SAFETY: True is immortal.
        let yes = unsafe { Owned::borrow(ffi::Py_True()) };
        set(&message, known.text.more_body, &yes)?;
    }
    Some(message)
}

unsafe extern "C" fn call(
    this: *mut PyObject,
    arguments: *const *mut PyObject,
    count: usize,
    keywords: *mut PyObject,
) -> *mut PyObject {
    at_edge(|| {
        // SAFETY: Python passes a living object of this type and as many arguments as it says, keyword values included.
        unsafe {
            let positional = ffi::PyVectorcall_NARGS(count);
            let named = if keywords.is_null() { 0 } else { ffi::PyTuple_Size(keywords) };
            match positional + named {
                0 => Wait::object(Owned::borrow(this), Direction::Receive),
                1 => NativeType::<Channel>::content(this).send(this, *arguments),
                _ => {
                    ffi::PyErr_SetString(
                        ffi::PyExc_TypeError,
                        c"receive() takes no argument and send() takes one message".as_ptr(),
                    );
                    ptr::null_mut()
                }
            }
        }
    })
}

unsafe extern "C" fn deallocate(this: *mut PyObject) {
    // SAFETY: Python calls this once, when the last reference is gone.
    unsafe {
        keeping_exception(|| CHANNEL.free(this));
    }
}
