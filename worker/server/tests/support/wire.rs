//! The socket: bytes that the client sends are read in the pieces in which it sent them; what the client reads is bounded if a test
//! says so.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fs::File,
    io,
    os::{fd::BorrowedFd, unix::fs::FileExt},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use hyper::rt::{Read, ReadBufCursor, Write};
use worker_server::{FileSending, Transport};

/// What the pretended kernel sends of a file at once.
const LARGEST_SENDFILE_BYTES: usize = 100_000;

#[derive(Debug)]
struct State {
    input: VecDeque<Vec<u8>>,
    input_ended: bool,
    input_broken: bool,
    output: Vec<u8>,
    /// Bytes that may still be written before the socket is full.
    window: Option<usize>,
    output_ended: bool,
    io_dropped: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    reads: usize,
    writes: usize,
    vectored_writes: usize,
    file_sending: FileSending,
    file_sends: usize,
}

/// The client's end.
#[derive(Debug, Clone)]
pub struct Wire(Rc<RefCell<State>>);

/// The server's end.
#[derive(Debug)]
pub struct Io(Rc<RefCell<State>>);

impl Wire {
    pub fn new() -> Self {
        Self(Rc::new(RefCell::new(State {
            input: VecDeque::new(),
            input_ended: false,
            input_broken: false,
            output: Vec::new(),
            window: None,
            output_ended: false,
            io_dropped: false,
            reader: None,
            writer: None,
            reads: 0,
            writes: 0,
            vectored_writes: 0,
            file_sending: FileSending::ByReading,
            file_sends: 0,
        })))
    }

    pub fn io(&self) -> Io {
        Io(Rc::clone(&self.0))
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.borrow_mut();
        change(&mut state);
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    pub fn send(&self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.change(|state| state.input.push_back(bytes.to_vec()));
        }
    }

    /// The client closes its sending side.
    pub fn end_input(&self) {
        self.change(|state| state.input_ended = true);
    }

    /// The client resets the connection.
    pub fn reset(&self) {
        self.change(|state| state.input_broken = true);
    }

    /// The client's receive window: so many bytes more, or all.
    pub fn set_window(&self, window: Option<usize>) {
        self.change(|state| state.window = window);
    }

    pub fn take_output(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.borrow_mut().output)
    }

    /// Makes room for the replies to come, so that only the engine allocates.
    pub fn reserve_output(&self) {
        self.0.borrow_mut().output.reserve(1024 * 1024);
    }

    /// Whether the server has closed its sending side, in good order or by dropping the socket.
    pub fn output_ended(&self) -> bool {
        let state = self.0.borrow();
        state.output_ended || state.io_dropped
    }

    pub fn is_shut_down(&self) -> bool {
        self.0.borrow().output_ended
    }

    /// Bytes that the client sent and nobody has read: closing now would be a reset.
    pub fn unread(&self) -> usize {
        self.0.borrow().input.iter().map(Vec::len).sum()
    }

    pub fn drop_io(&self) {
        self.0.borrow_mut().io_dropped = true;
    }

    pub fn reads(&self) -> usize {
        self.0.borrow().reads
    }

    pub fn writes(&self) -> usize {
        self.0.borrow().writes
    }

    /// From now on files are sent like this.
    pub fn set_file_sending(&self, sending: FileSending) {
        self.0.borrow_mut().file_sending = sending;
    }

    /// How often a file was sent past the engine.
    pub fn file_sends(&self) -> usize {
        self.0.borrow().file_sends
    }

    pub fn vectored_writes(&self) -> usize {
        self.0.borrow().vectored_writes
    }
}

impl Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.borrow_mut();
        state.reads += 1;
        if state.input_broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let Some(mut piece) = state.input.pop_front() else {
            if state.input_ended {
                return Poll::Ready(Ok(()));
            }
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        };
        let count = piece.len().min(buffer.remaining());
        buffer.put_slice(&piece[..count]);
        if count < piece.len() {
            piece.drain(..count);
            state.input.push_front(piece);
        }
        Poll::Ready(Ok(()))
    }
}

impl Transport for Io {
    fn sends_files(&self) -> FileSending {
        self.0.borrow().file_sending
    }

    fn poll_send_file(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        file: BorrowedFd<'_>,
        offset: u64,
        count: usize,
    ) -> Poll<io::Result<usize>> {
        let mut bytes = vec![0; count.min(LARGEST_SENDFILE_BYTES)];
        let length = File::from(file.try_clone_to_owned()?).read_at(&mut bytes, offset)?;
        self.0.borrow_mut().file_sends += 1;
        if length == 0 { Poll::Ready(Ok(0)) } else { self.poll_write(context, &bytes[..length]) }
    }
}

impl Write for Io {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.borrow_mut();
        state.writes += 1;
        if state.input_broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = bytes.len().min(state.window.unwrap_or(usize::MAX));
        if count == 0 {
            state.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        if let Some(window) = &mut state.window {
            *window -= count;
        }
        state.output.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().output_ended = true;
        Poll::Ready(Ok(()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        self.0.borrow_mut().vectored_writes += 1;
        self.as_mut().poll_write(context, &all)
    }
}
