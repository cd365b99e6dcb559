//! The transport as hyper sees it: what hyper writes is gathered and leaves at the end of the turn, what it reads comes in a
//! bounded number of reads a turn. The connection keeps a hand on the same transport to write, close and count.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};

use crate::{
    Service, Transport,
    http2::frame_guard::{self, Bounds, Breach, FrameGuard, IGNORED},
    inbound::BUFFER_BYTES,
    limits::{OUTPUT_HIGH_WATER_BYTES, READS_PER_TURN},
};

/// A hand on the transport; a clone is a hand on the same one.
pub(super) struct Link<Io> {
    state: Rc<RefCell<State<Io>>>,
}

struct State<Io> {
    io: Io,
    service: Rc<Service>,
    guard: FrameGuard,
    /// What the guard has found: nothing is read any more.
    breach: Option<Breach>,
    /// Bytes that were read and that hyper has not taken: `input[taken..read]`.
    input: Vec<u8>,
    taken: usize,
    read: usize,
    /// Bytes of a block of fields whose end has not come: hyper would decode them in vain.
    kept: Vec<u8>,
    /// When something was last heard of the client, or it last took something after a time in which it did not.
    heard_at: Instant,
    /// When it was asked whether it is there, if nothing was heard of it since.
    asked_at: Option<Instant>,
    /// What waits to be written: `output[written..]`.
    output: Vec<u8>,
    written: usize,
    is_flush_due: bool,
    /// The server's SETTINGS, which come first, were written.
    has_begun: bool,
    /// When the client last took some of what waits; `None` while nothing waits.
    stalled_since: Option<Instant>,
    reads_left: u32,
    /// The turn ended before the transport had nothing more to read.
    is_hungry: bool,
    reads: Readiness,
    writes: Readiness,
    now: Instant,
}

/// Whether it is worth asking the transport in this turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readiness {
    Unknown,
    /// It said no and will wake the task.
    Blocked,
}

impl<Io: Transport> Link<Io> {
    /// Takes over a transport, of which `unread` was read already.
    pub(super) fn new(io: Io, unread: Vec<u8>, service: Rc<Service>) -> Self {
        let now = service.clock.now();
        let bounds = service.limits.http2.as_ref().map(Bounds::from).unwrap_or_default();
        let mut state = State {
            io,
            service,
            guard: FrameGuard::new(bounds, now),
            breach: None,
            taken: 0,
            read: unread.len(),
            input: unread,
            kept: Vec::new(),
            heard_at: now,
            asked_at: None,
            output: Vec::new(),
            written: 0,
            is_flush_due: false,
            has_begun: false,
            stalled_since: None,
            reads_left: READS_PER_TURN,
            is_hungry: false,
            reads: Readiness::Unknown,
            writes: Readiness::Unknown,
            now,
        };
        state.watch();
        Self { state: Rc::new(RefCell::new(state)) }
    }

    /// A turn of the connection begins.
    pub(super) fn begin_turn(&self, now: Instant) {
        let mut state = self.state.borrow_mut();
        state.now = now;
        state.reads_left = READS_PER_TURN;
        state.is_hungry = false;
        state.reads = Readiness::Unknown;
        state.writes = Readiness::Unknown;
    }

    /// Writes what waits. Ready when all of it was taken.
    pub(super) fn poll_flush_all(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state.borrow_mut().poll_write_out(context)
    }

    /// Closes the sending side.
    pub(super) fn poll_shutdown(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.state.borrow_mut().io).poll_shutdown(context)
    }

    /// Reads and throws away. Ready with a number of bytes, 0 at the end.
    pub(super) fn poll_discard(&self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut state = self.state.borrow_mut();
        state.taken = state.read;
        state.poll_fill(context)
    }

    /// What the client's frames were stopped for.
    pub(super) fn breach(&self) -> Option<Breach> {
        self.state.borrow().breach
    }

    /// Asks the client whether it is there.
    pub(super) fn ask(&self, ping: &[u8], now: Instant) {
        self.append(ping);
        self.state.borrow_mut().asked_at = Some(now);
    }

    /// When the client was asked, if nothing was heard of it since.
    pub(super) fn asked_at(&self) -> Option<Instant> {
        self.state.borrow().asked_at
    }

    /// When something was last heard of the client.
    pub(super) fn heard_at(&self) -> Instant {
        self.state.borrow().heard_at
    }

    /// Appends bytes that hyper does not know of.
    pub(super) fn append(&self, bytes: &[u8]) {
        let mut state = self.state.borrow_mut();
        let State { service, output, .. } = &mut *state;
        service.prepare(output);
        output.extend_from_slice(bytes);
    }

    /// When the client last took some of what waits for it.
    pub(super) fn stalled_since(&self) -> Option<Instant> {
        self.state.borrow().stalled_since
    }

    /// Whether the next turn should read on without being woken by the transport.
    pub(super) fn is_hungry(&self) -> bool {
        self.state.borrow().is_hungry
    }

    /// Gives empty buffers back: an idle connection holds none.
    pub(super) fn release_buffers(&self) {
        let mut state = self.state.borrow_mut();
        if state.taken == state.read && state.input.capacity() > 0 {
            let input = std::mem::take(&mut state.input);
            (state.taken, state.read) = (0, 0);
            if input.len() == BUFFER_BYTES {
                state.service.spare_read_buffer(input);
            }
        }
        if state.output.is_empty() && state.output.capacity() > 0 {
            let output = std::mem::take(&mut state.output);
            state.service.spare_reply_buffer(output);
        }
    }
}

impl<Io: Transport> State<Io> {
    /// Reads once. Ready with a number of bytes, 0 at the end.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.reads == Readiness::Blocked {
            return Poll::Pending;
        }
        if self.reads_left == 0 {
            // Others first: the next turn reads on.
            self.reads = Readiness::Blocked;
            self.is_hungry = true;
            return Poll::Pending;
        }
        self.reads_left -= 1;
        if self.input.len() < BUFFER_BYTES {
            self.input = self.service.read_buffer();
        }
        let mut space = ReadBuf::new(&mut self.input);
        let result = Pin::new(&mut self.io).poll_read(context, space.unfilled());
        let count = space.filled().len();
        match result {
            Poll::Ready(Ok(())) => {
                (self.taken, self.read) = (0, count);
                if count > 0 {
                    self.hear();
                }
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.reads = Readiness::Blocked;
                Poll::Pending
            }
        }
    }

    /// There is a sign of life.
    fn hear(&mut self) {
        self.heard_at = self.now;
        self.asked_at = None;
    }

    /// Shows the guard what was read, and keeps back what hyper must not see yet.
    fn watch(&mut self) {
        let passed = match self.guard.pass(&self.input[..self.read], self.now) {
            Ok(passed) => passed,
            Err(breach) => {
                self.breach = Some(breach);
                self.kept = Vec::new();
                return;
            }
        };
        if let Some(kind) = passed.pong_kind {
            self.input[kind] = IGNORED;
        }
        if passed.count == self.read && self.kept.is_empty() {
            return;
        }
        let rest = passed.count..self.read;
        if passed.count > 0 && !self.kept.is_empty() {
            let mut whole = std::mem::take(&mut self.kept);
            whole.extend_from_slice(&self.input[..passed.count]);
            self.kept.extend_from_slice(&self.input[rest]);
            self.read = whole.len();
            self.input = whole;
        } else {
            self.kept.extend_from_slice(&self.input[rest]);
            self.read = passed.count;
        }
    }

    fn poll_write_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.output.len() {
            if self.writes == Readiness::Blocked {
                return Poll::Pending;
            }
            match Pin::new(&mut self.io).poll_write(context, &self.output[self.written..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    self.written += count;
                    self.is_flush_due = true;
                    self.end_stall();
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.block_writes(),
            }
        }
        self.output.clear();
        self.written = 0;
        if self.is_flush_due {
            if self.writes == Readiness::Blocked {
                return Poll::Pending;
            }
            match Pin::new(&mut self.io).poll_flush(context) {
                Poll::Ready(Ok(())) => {
                    self.is_flush_due = false;
                    self.end_stall();
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.block_writes(),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn block_writes(&mut self) -> Poll<io::Result<()>> {
        self.writes = Readiness::Blocked;
        self.stalled_since.get_or_insert(self.now);
        Poll::Pending
    }

    /// The client takes again what waits for it.
    fn end_stall(&mut self) {
        if self.stalled_since.take().is_some() {
            self.hear();
        }
    }

    /// Makes room to gather more, by writing if too much waits.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.output.len() - self.written < OUTPUT_HIGH_WATER_BYTES {
            return Poll::Ready(Ok(()));
        }
        match self.poll_write_out(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if self.output.len() - self.written >= OUTPUT_HIGH_WATER_BYTES => Poll::Pending,
            Poll::Pending | Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
        }
    }
}

impl<Io: Transport> Read for Link<Io> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.state.borrow_mut();
        while state.taken == state.read && state.breach.is_none() {
            match state.poll_fill(context) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(_count)) => state.watch(),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if state.breach.is_some() {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let count = buffer.remaining().min(state.read - state.taken);
        buffer.put_slice(&state.input[state.taken..state.taken + count]);
        state.taken += count;
        Poll::Ready(Ok(()))
    }
}

impl<Io: Transport> Write for Link<Io> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.state.borrow_mut();
        match state.poll_room(context) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
        let State { service, output, has_begun, .. } = &mut *state;
        service.prepare(output);
        let before = output.len();
        for slice in slices {
            output.extend_from_slice(slice);
        }
        if !std::mem::replace(has_begun, true)
            && let Some(limits) = &service.limits.http2
        {
            frame_guard::set_header_list_bytes(&mut output[before..], limits.header_list_bytes);
        }
        Poll::Ready(Ok(output.len() - before))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // At the end of the turn.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection does it, after the last byte is written.
        Poll::Ready(Ok(()))
    }
}

impl<Io> Clone for Link<Io> {
    fn clone(&self) -> Self {
        Self { state: Rc::clone(&self.state) }
    }
}
