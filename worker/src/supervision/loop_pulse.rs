//! Takes the pulse of a loop that runs on another thread: an eventfd that the loop watches, and the time of its last answer.

use std::{
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Release},
    },
    time::{Duration, Instant},
};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{LoopAnswer, LoopProbe};

/// A probe for a loop on another thread. The loop watches [`LoopPulse::descriptor`] and calls [`LoopPulse::answer_poke`] when it is
/// readable; the service thread uses the same object as its [`LoopProbe`]. An idle loop answers at once: idle is not stuck.
#[derive(Debug, Clone)]
pub struct LoopPulse {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    wake: EventFd,
    epoch: Instant,
    poked_us: AtomicU64,
    /// Lag of the last answer in microseconds, or [`UNANSWERED`].
    lag_us: AtomicU64,
}

const UNANSWERED: u64 = u64::MAX;

impl LoopPulse {
    /// A probe that was not poked yet.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> std::io::Result<Self> {
        let wake = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let shared = Shared {
            wake,
            epoch: Instant::now(),
            poked_us: AtomicU64::new(0),
            lag_us: AtomicU64::new(UNANSWERED),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// What the loop must watch for readability.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.shared.wake.as_fd()
    }

    /// Called by the loop when the descriptor is readable; harmless at any other time.
    pub fn answer_poke(&self) {
        let shared = &self.shared;
        if shared.wake.read().is_ok() {
            let lag_us = shared.now_us().saturating_sub(shared.poked_us.load(Acquire));
            shared.lag_us.store(lag_us, Release);
        }
    }
}

impl Shared {
    fn now_us(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl LoopProbe for LoopPulse {
    fn poke(&self) {
        let shared = &self.shared;
        shared.lag_us.swap(UNANSWERED, AcqRel);
        shared.poked_us.store(shared.now_us(), Release);
        if let Err(error) = shared.wake.write(1) {
            tracing::error!(%error, "cannot poke the event loop");
        }
    }

    fn answer(&self) -> LoopAnswer {
        match self.shared.lag_us.load(Acquire) {
            UNANSWERED => LoopAnswer::Waiting,
            lag_us => LoopAnswer::After(Duration::from_micros(lag_us)),
        }
    }
}
