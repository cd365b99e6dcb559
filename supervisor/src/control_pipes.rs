//! The supervisor's end of the control channel to one worker: whole messages out of one pipe, whole messages into the
//! other. Bounded, and never waits for the worker.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    unistd::{pipe2, read, write},
};
use protocol::{FromWorker, ToWorker, frame};

/// Read from one worker in one turn, so that a flood from one cannot keep the supervisor from the others.
const BYTES_PER_TURN: usize = 16 * 1024;

/// Our two ends.
#[derive(Debug)]
pub struct ControlPipes {
    to_worker: OwnedFd,
    from_worker: OwnedFd,
    decoder: frame::Decoder,
}

/// The worker's two ends: passed to it and closed here right after.
#[derive(Debug)]
pub struct WorkerEnds {
    /// It reads from this one.
    pub control_in: OwnedFd,
    /// It writes to this one.
    pub control_out: OwnedFd,
}

/// What one turn of reading brought after its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelState {
    /// More may come.
    Open,
    /// The worker closed its end, by its exit or on purpose.
    Closed,
    /// What came is no message, says the text.
    Garbage(String),
}

impl ControlPipes {
    /// Two new pipes, non-blocking and closed on exec at all four ends.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn open() -> io::Result<(Self, WorkerEnds)> {
        let flags = OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let (control_in, to_worker) = pipe2(flags)?;
        let (from_worker, control_out) = pipe2(flags)?;
        let decoder = frame::Decoder::default();
        Ok((Self { to_worker, from_worker, decoder }, WorkerEnds { control_in, control_out }))
    }

    /// The end to watch for what the worker says.
    #[must_use]
    pub fn readable_end(&self) -> BorrowedFd<'_> {
        self.from_worker.as_fd()
    }

    /// Takes what lies in the pipe.
    pub fn receive(&mut self) -> (Vec<FromWorker>, ChannelState) {
        let mut messages = Vec::new();
        let mut buffer = [0; frame::MAX_FRAME_BYTES];
        let mut state = ChannelState::Open;
        for _ in 0..BYTES_PER_TURN / buffer.len() {
            match read(&self.from_worker, &mut buffer) {
                Ok(0) => state = ChannelState::Closed,
                Ok(length) => self.decoder.push(&buffer[..length]),
                Err(Errno::EAGAIN | Errno::EINTR) => break,
                Err(error) => state = ChannelState::Garbage(error.to_string()),
            }
            loop {
                match self.decoder.next_message() {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(error) => return (messages, ChannelState::Garbage(error.to_string())),
                }
            }
            if state != ChannelState::Open {
                break;
            }
        }
        (messages, state)
    }

    /// Says something to the worker. A frame is written whole or not at all.
    ///
    /// # Errors
    /// The worker does not read (the pipe is full) or has closed its end.
    pub fn send(&self, message: &ToWorker) -> io::Result<()> {
        let line = frame::encode(message).map_err(io::Error::other)?;
        write(&self.to_worker, &line)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use nix::unistd::write;
    use protocol::{FromWorker, ToWorker};

    use super::{ChannelState, ControlPipes};

    #[test]
    fn messages_come_whole_whatever_the_pieces() {
        let (mut ours, theirs) = ControlPipes::open().expect("two pipes");
        assert_eq!(ours.receive(), (vec![], ChannelState::Open));
        write(&theirs.control_out, b"{\"type\":\"rea").expect("room");
        assert_eq!(ours.receive(), (vec![], ChannelState::Open));
        write(&theirs.control_out, b"dy\"}\n{\"type\":\"draining\"}\n").expect("room");
        assert_eq!(ours.receive(), (vec![FromWorker::Ready, FromWorker::Draining], ChannelState::Open));
        drop(theirs);
        assert_eq!(ours.receive(), (vec![], ChannelState::Closed));
    }

    #[test]
    fn what_is_no_message_is_named_after_those_that_are() {
        let (mut ours, theirs) = ControlPipes::open().expect("two pipes");
        write(&theirs.control_out, b"{\"type\":\"ready\"}\nhello\n").expect("room");
        let (messages, state) = ours.receive();
        assert_eq!(messages, [FromWorker::Ready]);
        assert!(matches!(state, ChannelState::Garbage(_)), "{state:?}");
        write(&theirs.control_out, &[b'x'; 5000]).expect("room");
        assert!(matches!(ours.receive().1, ChannelState::Garbage(_)));
    }

    #[test]
    fn a_worker_that_does_not_read_is_no_reason_to_wait() {
        let (ours, theirs) = ControlPipes::open().expect("two pipes");
        let drain = ToWorker::Drain { grace_ms: 1 };
        let sent = (0..100_000).take_while(|_| ours.send(&drain).is_ok()).count();
        assert!(sent < 100_000, "the pipe must be full at some time");
        drop(theirs);
        assert!(ours.send(&drain).is_err());
    }
}
