//! The worker's end of the control channel: reports (hello, loaded, ready, heartbeat, draining, failed) go out, orders (drain)
//! come in, and the end of the incoming pipe means that the supervisor died.
//!
//! Runs as one task on any current-thread tokio runtime: beside the connections of a native worker, or on the service thread of
//! a Python worker, where it must go on while the interpreter hangs. So it knows the worker's loop only through [`LoopProbe`]
//! and never touches an application. A report is one atomic write that never blocks: a supervisor that does not read costs
//! heartbeats, never a request.

mod loop_pulse;
mod reporter;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use protocol::{
    FromWorker, ToWorker,
    frame::{Decoder, FrameError},
};
use tokio::{net::unix::pipe, time::Instant};

pub use loop_pulse::LoopPulse;
pub use reporter::Reporter;

use crate::meter::Load;

/// How long a worker may go on after its supervisor died: a replacement may be waiting for the port. DESIGN §4 allows 800 ms; this is
/// 150 ms more than the answers that are promised to be finished may take, and leaves a crowded machine 350 ms of the second
/// after which no worker may be left.
pub const ORPHAN_GRACE: Duration = Duration::from_millis(650);

/// How the task asks whether the worker's loop is alive.
pub trait LoopProbe {
    /// Asks the loop for a sign of life. Must not block. Called again only after an answer came.
    fn poke(&self);
    /// What became of the last poke.
    fn answer(&self) -> LoopAnswer;
}

/// What became of a poke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoopAnswer {
    /// None yet: the loop is stuck or busy.
    Waiting,
    /// The loop answered after this time.
    After(Duration),
}

/// The probe of a worker whose loop runs this very task: that it runs is the answer.
#[derive(Debug, Clone, Copy)]
pub struct OwnLoop;

impl LoopProbe for OwnLoop {
    fn poke(&self) {}

    fn answer(&self) -> LoopAnswer {
        LoopAnswer::After(Duration::ZERO)
    }
}

/// Why [`attend`] ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelEnd {
    /// The supervisor died: leave within [`ORPHAN_GRACE`].
    SupervisorDied,
    /// It speaks another language: the channel cannot be trusted, and nobody is left who could stop this worker. Leave as if
    /// it had died.
    Garbled(FrameError),
}

/// Serves the control channel until it ends: sends a heartbeat every `interval` if the loop answered since the last one, and
/// hands each order to `obey`. `load` says what a heartbeat reports; it must not block.
///
/// The first heartbeat goes out one interval after the start, so call it when the worker says hello or later.
///
/// # Panics
/// Outside a tokio runtime with I/O and time enabled.
pub async fn attend(
    from_supervisor: OwnedFd,
    reporter: &Reporter,
    interval: Duration,
    probe: &impl LoopProbe,
    load: impl Fn() -> Load,
    mut obey: impl FnMut(ToWorker),
) -> ChannelEnd {
    let pipe = match pipe::Receiver::from_owned_fd(from_supervisor) {
        Ok(pipe) => pipe,
        Err(error) => {
            tracing::error!(%error, "the control pipe is unusable");
            return ChannelEnd::SupervisorDied;
        }
    };
    let mut decoder = Decoder::default();
    let mut due = Instant::now() + interval;
    probe.poke();
    loop {
        tokio::select! {
            readable = pipe.readable() => {
                if let Err(end) = readable.map_err(|_error| ChannelEnd::SupervisorDied).and_then(|()| read_orders(&pipe, &mut decoder, &mut obey)) {
                    return end;
                }
            }
            () = tokio::time::sleep_until(due) => {
                beat(reporter, probe, due, load());
                due = Instant::now() + interval;
            }
        }
    }
}

fn beat(reporter: &Reporter, probe: &impl LoopProbe, due: Instant, load: Load) {
    reporter.retry_pending();
    let LoopAnswer::After(lag) = probe.answer() else { return };
    // When the loop runs this task itself, its lag is how late this is.
    let loop_lag = lag.max(due.elapsed());
    reporter.heartbeat(FromWorker::Heartbeat {
        loop_lag_ms: milliseconds(loop_lag),
        in_flight: load.in_flight,
        oldest_request_ms: milliseconds(load.oldest_request),
    });
    probe.poke();
}

/// Reads what is there. The error is the channel's end.
fn read_orders(
    pipe: &pipe::Receiver,
    decoder: &mut Decoder,
    obey: &mut impl FnMut(ToWorker),
) -> Result<(), ChannelEnd> {
    let mut buffer = [0; protocol::frame::MAX_FRAME_BYTES];
    loop {
        match pipe.try_read(&mut buffer) {
            Ok(0) => return Err(ChannelEnd::SupervisorDied),
            Ok(length) => decoder.push(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_error) => return Err(ChannelEnd::SupervisorDied),
        }
        while let Some(order) = decoder.next_message().map_err(ChannelEnd::Garbled)? {
            obey(order);
        }
    }
}

/// Makes sure that this process is gone soon after its supervisor, even if its own loop never runs again: a thread that waits
/// for the end of the pipe, gives the loop [`ORPHAN_GRACE`], and then kills the process. It reads nothing from the pipe. Not for
/// a worker whose [`attend`] already runs on a thread that cannot hang.
///
/// # Errors
/// When the thread or a second descriptor cannot be had.
pub fn kill_when_orphaned(from_supervisor: BorrowedFd<'_>) -> io::Result<()> {
    const STACK_BYTES: usize = 32 * 1024;
    let pipe = from_supervisor.try_clone_to_owned()?;
    std::thread::Builder::new().name("orphan-guard".into()).stack_size(STACK_BYTES).spawn(move || {
        wait_for_hang_up(&pipe);
        // The loop has the same news and leaves by itself if it can.
        let orphaned_at = std::time::Instant::now();
        while let Some(left) = ORPHAN_GRACE.checked_sub(orphaned_at.elapsed()) {
            std::thread::park_timeout(left);
        }
        leave_now();
    })?;
    Ok(())
}

fn wait_for_hang_up(pipe: &OwnedFd) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    loop {
        // No event is asked for: hang-up is always told, and orders are for the loop to read.
        let mut interest = [PollFd::new(pipe.as_fd(), PollFlags::empty())];
        if poll(&mut interest, PollTimeout::NONE).is_ok_and(|count| count > 0) {
            return;
        }
    }
}

/// Ends this process at once, whatever its threads do: nothing is flushed and no destructor runs.
pub fn leave_now() {
    let own = nix::unistd::getpid();
    if let Err(error) = nix::sys::signal::kill(own, nix::sys::signal::Signal::SIGKILL) {
        tracing::error!(%error, "cannot kill myself");
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
