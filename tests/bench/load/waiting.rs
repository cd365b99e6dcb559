//! How the client waits for answers, which changes what a server costs.
//!
//! A client that sleeps must be woken by the server's own send: an interrupt to the other processor, which in a virtual
//! machine costs some 4 µs of the server's time. A slow server pays that for each write, a fast one, which keeps the client
//! busy, for none. Awake, the client costs every server the same, as a client on another machine does, and figures of single
//! rounds differ by 2 % where they differed by 15 %. It needs a processor of its own.

use std::{
    io,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollEvent, EpollTimeout},
};

/// How often a sleeping client looks whether its patience has run out.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);

/// What the client does while nothing has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// Asks again and again.
    Awake,
    /// Sleeps, to the millisecond: for a processor that the server needs too.
    Asleep,
}

impl Waiting {
    /// The number of events that have arrived; none at `deadline` at the latest, give or take a millisecond.
    pub(crate) fn wait(
        self,
        epoll: &Epoll,
        events: &mut [EpollEvent],
        deadline: Option<Instant>,
    ) -> io::Result<usize> {
        let timeout = match self {
            Waiting::Awake => EpollTimeout::ZERO,
            Waiting::Asleep => {
                let left = deadline.map_or(LONGEST_SLEEP, |at| at.saturating_duration_since(Instant::now()));
                EpollTimeout::try_from(left.min(LONGEST_SLEEP)).unwrap_or(EpollTimeout::ZERO)
            }
        };
        match epoll.wait(events, timeout) {
            Ok(count) => Ok(count),
            Err(Errno::EINTR) => Ok(0),
            Err(errno) => Err(errno.into()),
        }
    }
}
