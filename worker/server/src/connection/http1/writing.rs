//! From what waits in the output to the transport: bytes, chunks and files, as fast as the client takes them.

use std::{
    io,
    os::fd::AsFd,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::{Flush, Http1, Progress, Readiness, TurnState};
use crate::{App, Transport, limits::OUTPUT_LOW_WATER_BYTES, output::Output};

impl<Io: Transport, A: App> Http1<Io, A> {
    /// Writes what waits, until it is gone or the socket is full.
    pub(super) fn write(&mut self, context: &mut Context<'_>) -> Progress {
        let mut progress = Progress::None;
        loop {
            let mut output = self.mailbox.output.borrow_mut();
            let waiting = output.waiting();
            if self.turn.writes == Readiness::Blocked {
                break;
            }
            if waiting == 0 {
                drop(output);
                self.flush(context);
                break;
            }
            match write_once(&mut self.io, &mut self.turn, &mut output, context) {
                Poll::Ready(Ok(count)) if count > 0 => output.advance(count),
                Poll::Ready(Ok(_) | Err(_)) => {
                    drop(output);
                    self.abandon();
                    return Progress::Made;
                }
                Poll::Pending => {
                    self.turn.writes = Readiness::Blocked;
                    self.write_stalled_since.get_or_insert(self.turn.now);
                    break;
                }
            }
            progress = Progress::Made;
            let is_empty = output.waiting() == 0;
            drop(output);
            self.write_stalled_since = (!is_empty).then_some(self.turn.now);
            self.flush = Flush::Due;
            self.drop_spent_chunks();
        }
        if progress == Progress::Made && self.mailbox.output.borrow().waiting() <= OUTPUT_LOW_WATER_BYTES {
            self.mailbox.wake_sender();
        }
        progress
    }

    /// All is written: makes the transport send it, and tells the meter.
    fn flush(&mut self, context: &mut Context<'_>) {
        if self.flush == Flush::Done {
            return;
        }
        match Pin::new(&mut self.io).poll_flush(context) {
            Poll::Ready(Ok(())) => {
                self.flush = Flush::Done;
                self.write_stalled_since = None;
                self.report();
            }
            Poll::Ready(Err(_)) => self.abandon(),
            Poll::Pending => {
                self.turn.writes = Readiness::Blocked;
                self.write_stalled_since.get_or_insert(self.turn.now);
            }
        }
    }

    /// Drops chunks that were written, outside every borrow: their drop may run code of the app.
    fn drop_spent_chunks(&self) {
        loop {
            let spent = self.mailbox.output.borrow_mut().pop_spent();
            if spent.is_none() {
                break;
            }
        }
    }
}

/// Hands the transport what comes next. Ready with 0 where a file ends before its time.
fn write_once<C: AsRef<[u8]>>(
    io: &mut impl Transport,
    turn: &mut TurnState,
    output: &mut Output<C>,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    if output.has_files() {
        return write_with_files(io, turn, output, context);
    }
    let io = Pin::new(io);
    output.with_slices(|slices| match slices {
        [slice] => io.poll_write(context, slice),
        slices => io.poll_write_vectored(context, slices),
    })
}

/// The same where files are among what waits.
fn write_with_files<C: AsRef<[u8]>>(
    io: &mut impl Transport,
    turn: &mut TurnState,
    output: &mut Output<C>,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    if turn.file_bytes_left == 0 {
        // Others first: the next turn sends on.
        context.waker().wake_by_ref();
        return Poll::Pending;
    }
    let sending = io.sends_files();
    if let Some((range, offset, count)) = output.file_for_kernel(sending) {
        let count = count.min(turn.file_bytes_left);
        match ready!(Pin::new(&mut *io).poll_send_file(context, range.file.as_fd(), offset, count)) {
            // A file system that knows no such thing (sendfile(2)).
            Err(error)
                if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) =>
            {
                range.refuse_kernel();
            }
            sent => {
                return Poll::Ready(
                    sent.inspect(|&count| turn.file_bytes_left -= count.min(turn.file_bytes_left)),
                );
            }
        }
    }
    output.read_file(sending)?;
    let written = ready!(output.with_slices(|slices| Pin::new(io).poll_write_vectored(context, slices)))?;
    turn.file_bytes_left = turn.file_bytes_left.saturating_sub(written);
    Poll::Ready(Ok(written))
}
