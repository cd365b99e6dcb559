//! Non-blocking stream sockets as `hyper::rt` I/O, and the readiness that epoll reports for them.
//!
//! Edge-triggered: a flag says that the kernel may have something, and is cleared by the call that finds nothing more. A
//! short read is such a call, unless the peer hung up: then the end of the stream still waits to be read.

#![expect(unsafe_code, reason = "reads go straight into the engine's uninitialised buffer")]

use std::{
    cell::{Cell, RefCell},
    ffi::{c_long, c_void},
    io::{self, IoSlice},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use hyper::rt::{Read, ReadBufCursor, Write};
use slab::Slab;
use worker_server::{FileSending, Transport};

use super::{Reactor, epoll::Ready};

/// What is known of one watched descriptor.
#[derive(Default)]
pub(crate) struct Readiness {
    readable: Cell<bool>,
    writable: Cell<bool>,
    hung_up: Cell<bool>,
    reader: RefCell<Option<Waker>>,
    writer: RefCell<Option<Waker>>,
}

impl Readiness {
    pub(super) fn mark(&self, ready: Ready, mut wake: impl FnMut(Waker)) {
        if ready.hang_up {
            self.hung_up.set(true);
        }
        if ready.read {
            self.readable.set(true);
            if let Some(waker) = self.reader.take() {
                wake(waker);
            }
        }
        if ready.write {
            self.writable.set(true);
            if let Some(waker) = self.writer.take() {
                wake(waker);
            }
        }
    }

    /// Whether there was something to read; forgets it.
    pub(super) fn take_readable(&self) -> bool {
        self.readable.replace(false)
    }
}

fn register(place: &RefCell<Option<Waker>>, context: &Context<'_>) {
    let mut place = place.borrow_mut();
    match &mut *place {
        Some(waker) => waker.clone_from(context.waker()),
        None => *place = Some(context.waker().clone()),
    }
}

/// All watched descriptors by token.
#[derive(Default)]
pub(super) struct Sources {
    slots: Slab<(u32, Rc<Readiness>)>,
    next_generation: u32,
}

impl Sources {
    pub(super) fn insert(&mut self) -> (u64, Rc<Readiness>) {
        self.next_generation = self.next_generation.wrapping_add(1);
        let readiness = Rc::new(Readiness::default());
        // The first call finds out for itself: data often comes with the connection.
        readiness.readable.set(true);
        readiness.writable.set(true);
        let index = self.slots.insert((self.next_generation, Rc::clone(&readiness)));
        (token(index, self.next_generation), readiness)
    }

    /// None for an event of a descriptor that is gone, which may still be in the batch.
    pub(super) fn get(&self, token: u64) -> Option<&Rc<Readiness>> {
        let (index, generation) = split(token);
        self.slots.get(index).filter(|slot| slot.0 == generation).map(|slot| &slot.1)
    }

    pub(super) fn remove(&mut self, token: u64) -> Option<Rc<Readiness>> {
        let (index, generation) = split(token);
        self.slots.get(index).filter(|slot| slot.0 == generation)?;
        Some(self.slots.remove(index).1)
    }
}

fn token(index: usize, generation: u32) -> u64 {
    (u64::from(generation) << 32) | index as u64
}

#[expect(clippy::cast_possible_truncation, reason = "a token is two halves of 32 bits")]
fn split(token: u64) -> (usize, u32) {
    (token as u32 as usize, (token >> 32) as u32)
}

/// A descriptor that the reactor watches: closed before it is forgotten, so that no event can name a stranger.
pub(crate) struct Watched<T: AsFd> {
    /// None only while it is dropped.
    io: Option<T>,
    descriptor: RawFd,
    token: u64,
    readiness: Rc<Readiness>,
    reactor: &'static Reactor,
}

impl<T: AsFd> Watched<T> {
    /// Watches a non-blocking descriptor.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn new(reactor: &'static Reactor, io: T) -> io::Result<Self> {
        let (token, readiness) = reactor.watch(io.as_fd())?;
        let descriptor = io.as_fd().as_raw_fd();
        Ok(Self { io: Some(io), descriptor, token, readiness, reactor })
    }

    /// What is watched.
    pub(crate) fn get(&self) -> &T {
        self.io.as_ref().expect("only taken while it is dropped")
    }

    /// Ready once for each time that something may have become readable.
    pub(crate) fn poll_readable(&self, context: &Context<'_>) -> Poll<()> {
        if self.readiness.take_readable() {
            return Poll::Ready(());
        }
        register(&self.readiness.reader, context);
        Poll::Pending
    }
}

impl<T: AsFd> Drop for Watched<T> {
    fn drop(&mut self) {
        self.io = None;
        self.reactor.unwatch(self.token);
    }
}

fn retry_interrupted<R>(call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
    // Non-blocking calls are not interrupted (signal(7)); one that is counts as "not now".
    match call() {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(io::ErrorKind::WouldBlock.into()),
        done => done,
    }
}

/// A connected stream socket.
pub(crate) struct Socket {
    watched: Watched<OwnedFd>,
}

impl Socket {
    /// Wraps a connected, non-blocking socket.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn new(reactor: &'static Reactor, descriptor: OwnedFd) -> io::Result<Self> {
        Ok(Self { watched: Watched::new(reactor, descriptor)? })
    }

    fn poll_read_with(
        &self,
        context: &Context<'_>,
        call: impl FnOnce(RawFd) -> isize,
    ) -> Poll<io::Result<usize>> {
        let readiness = &self.watched.readiness;
        poll_with(&readiness.readable, &readiness.reader, context, || call(self.watched.descriptor))
    }

    fn poll_write_with(
        &self,
        context: &Context<'_>,
        call: impl FnOnce(RawFd) -> isize,
    ) -> Poll<io::Result<usize>> {
        let readiness = &self.watched.readiness;
        poll_with(&readiness.writable, &readiness.writer, context, || call(self.watched.descriptor))
    }
}

/// Makes the call if the kernel may have something for it; "would block" takes that back until the next edge.
fn poll_with(
    ready: &Cell<bool>,
    waiting: &RefCell<Option<Waker>>,
    context: &Context<'_>,
    call: impl FnOnce() -> isize,
) -> Poll<io::Result<usize>> {
    if ready.get() {
        match retry_interrupted(|| count(call())) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.set(false),
            done => return Poll::Ready(done),
        }
    }
    register(waiting, context);
    Poll::Pending
}

/// Where the engine's buffer has room.
fn unsafe_place(buffer: &mut ReadBufCursor<'_>) -> *mut c_void {
    // SAFETY: nothing is made uninitialised: the place is only written to.
    unsafe { buffer.as_mut() }.as_mut_ptr().cast()
}

/// recvfrom(2) and sendto(2) without an address. Sets errno as the C library does.
///
/// # Safety
/// `bytes` is `length` bytes long, and may be written to when the call is one that writes.
unsafe fn system_call(
    number: c_long,
    descriptor: RawFd,
    bytes: *mut c_void,
    length: usize,
    flags: i32,
) -> isize {
    let no_address: *mut c_void = std::ptr::null_mut();
    // SAFETY: the caller's promise; both calls take these six arguments.
    let returned = unsafe { libc::syscall(number, descriptor, bytes, length, flags, no_address, no_address) };
    isize::try_from(returned).unwrap_or(-1)
}

fn count(returned: isize) -> io::Result<usize> {
    usize::try_from(returned).map_err(|_negative| io::Error::last_os_error())
}

impl Read for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let readiness = &self.watched.readiness;
        let room = buffer.remaining();
        if room == 0 {
            return Poll::Ready(Ok(()));
        }
        let read = self.poll_read_with(context, |descriptor| {
            let place = unsafe_place(&mut buffer);
            // SAFETY: the kernel writes at most `room` bytes into the buffer and reads none of it. Called past the C library, whose
            // recv() and send() are points of thread cancellation and keep book of that at each call.
            unsafe { system_call(libc::SYS_recvfrom, descriptor, place, room, 0) }
        });
        read.map_ok(|length| {
            if length > 0 && length < room && !readiness.hung_up.get() {
                readiness.readable.set(false);
            }
            // SAFETY: recv has initialised the first `length` bytes.
            unsafe { buffer.advance(length) };
        })
    }
}

impl Write for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_with(context, |descriptor| {
            let place = bytes.as_ptr().cast_mut().cast();
            // SAFETY: the kernel reads the slice and keeps nothing of it.
            unsafe { system_call(libc::SYS_sendto, descriptor, place, bytes.len(), libc::MSG_NOSIGNAL) }
        })
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = parts {
            return self.poll_write(context, only);
        }
        self.poll_write_with(context, |descriptor| {
            // SAFETY: all zero is a valid msghdr (man 2 sendmsg): no address, no parts, no control data.
            let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
            message.msg_iov = parts.as_ptr().cast_mut().cast();
            message.msg_iovlen = parts.len().min(libc::UIO_MAXIOV as usize);
            // SAFETY: IoSlice has the layout of iovec (its documentation promises so); sendmsg only reads the parts.
            unsafe { libc::sendmsg(descriptor, &raw const message, libc::MSG_NOSIGNAL) }
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // SAFETY: shutdown takes a number; it fails harmlessly on a socket whose peer is gone.
        if unsafe { libc::shutdown(self.watched.descriptor, libc::SHUT_WR) } == 0 {
            return Poll::Ready(Ok(()));
        }
        let error = io::Error::last_os_error();
        let gone = error.kind() == io::ErrorKind::NotConnected;
        Poll::Ready(if gone { Ok(()) } else { Err(error) })
    }
}

impl Transport for Socket {
    fn sends_files(&self) -> FileSending {
        FileSending::ByKernel
    }

    fn poll_send_file(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        file: BorrowedFd<'_>,
        offset: u64,
        count: usize,
    ) -> Poll<io::Result<usize>> {
        // An offset beyond the kernel's range is beyond every file's end.
        let Ok(mut offset) = i64::try_from(offset) else { return Poll::Ready(Ok(0)) };
        self.poll_write_with(context, |descriptor| {
            // SAFETY: both descriptors are open, and the kernel writes the new offset into our variable alone.
            unsafe { libc::sendfile(descriptor, file.as_raw_fd(), &raw mut offset, count) }
        })
    }
}
