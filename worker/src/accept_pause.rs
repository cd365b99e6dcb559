//! When a worker accepts nothing for a while, and until when: it has as many connections as it may have, or the system has no descriptors
//! or memory for more. Nobody is refused meanwhile: connections wait in the kernel's queue, where siblings find them. One policy for
//! every driver; knows numbers, never a socket.

use std::{cell::Cell, io, rc::Rc, time::Duration};

use nix::sys::resource::{Resource, getrlimit};
use protocol::{scoreboard::Counter, settings::HttpSettings};

use worker_server::Drain;

use crate::scoreboard_mapping::Scoreboard;

/// Pause after the system refused a connection for want of descriptors or memory; doubled each time up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Connections take three quarters of the descriptors at most: the rest is the application's, for files and databases.
const DESCRIPTOR_SHARE: [u64; 2] = [3, 4];

/// A time in which nothing is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// As many connections are open as may be: until there are fewer than this.
    UntilFewer(usize),
    /// The system is out of descriptors or memory: for so long.
    For(Duration),
}

impl Pause {
    /// Ends when the pause is over; `sleep` is the driver's.
    pub async fn over<S: Future<Output = ()>>(self, drain: Drain, sleep: impl FnOnce(Duration) -> S) {
        match self {
            Self::UntilFewer(count) => drain.fewer_than(count).await,
            Self::For(time) => sleep(time).await,
        }
    }
}

/// The policy for one listening socket of a worker.
#[derive(Debug, Clone)]
pub struct AcceptPause {
    bound: usize,
    scoreboard: Scoreboard,
    /// The last pause for want of descriptors or memory, until a connection was accepted.
    exhausted: Option<Duration>,
    /// Whether the operator was told of the bound; the same for all sockets of the worker.
    told: Rc<Cell<Told>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    NotYet,
    Once,
}

impl AcceptPause {
    /// The policy that the settings ask for. A clone is for another socket of the same worker.
    #[must_use]
    pub fn new(http: &HttpSettings, scoreboard: Scoreboard) -> Self {
        let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _hard)| soft);
        let bound = bound(u64::from(http.connections), descriptors);
        Self { bound, scoreboard, exhausted: None, told: Rc::new(Cell::new(Told::NotYet)) }
    }

    /// Whether one more may be accepted by a worker that has so many connections.
    #[must_use]
    pub fn has_room(&self, open: usize) -> bool {
        open < self.bound
    }

    /// The worker is full.
    #[must_use]
    pub fn full(&self) -> Pause {
        self.scoreboard.own().add(Counter::AcceptPauses, 1);
        if self.told.replace(Told::Once) == Told::NotYet {
            tracing::warn!(
                "this worker has {} connections, as many as it may have; more wait until one closes (said once; \
                 --worker-connections, ulimit -n, supervise_accept_pauses_total)",
                self.bound
            );
        }
        Pause::UntilFewer(self.bound)
    }

    /// A connection was accepted.
    pub fn accepted(&mut self) {
        self.exhausted = None;
    }

    /// The system refused.
    #[must_use]
    pub fn exhausted(&mut self, error: &io::Error) -> Pause {
        let pause = match self.exhausted {
            Some(pause) => (pause * 2).min(LONGEST_PAUSE),
            None => {
                tracing::warn!(%error, "cannot accept connections; trying again until it works");
                FIRST_PAUSE
            }
        };
        self.exhausted = Some(pause);
        Pause::For(pause)
    }
}

fn bound(connections: u64, descriptors: u64) -> usize {
    let [part, whole] = DESCRIPTOR_SHARE;
    let share = (descriptors / whole).saturating_mul(part).max(1);
    usize::try_from(connections.min(share)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use protocol::{defaults, scoreboard::Counter};

    use super::{AcceptPause, Pause, bound};
    use crate::scoreboard_mapping::Scoreboard;

    #[test]
    fn descriptors_are_left_for_the_application() {
        assert_eq!(bound(10_000, 1_024), 768);
        assert_eq!(bound(10_000, 1_048_576), 10_000);
        assert_eq!(bound(10_000, u64::MAX), 10_000);
        assert_eq!(bound(5, 0), 1);
    }

    #[test]
    fn a_full_worker_pauses_until_one_closes() {
        let scoreboard = Scoreboard::private().unwrap();
        let mut http = defaults::HTTP;
        http.connections = 2;
        let pause = AcceptPause::new(&http, scoreboard);
        assert_eq!([0, 1, 2].map(|open| pause.has_room(open)), [true, true, false]);
        assert_eq!(pause.full(), Pause::UntilFewer(2));
        assert_eq!(scoreboard.own().get(Counter::AcceptPauses), 1);
    }

    #[test]
    fn an_exhausted_system_is_asked_less_and_less_often() {
        let mut pause = AcceptPause::new(&defaults::HTTP, Scoreboard::private().unwrap());
        let error = io::Error::from(io::ErrorKind::OutOfMemory);
        let mut next = || match pause.exhausted(&error) {
            Pause::For(time) => time,
            Pause::UntilFewer(count) => panic!("no bound was met, not {count}"),
        };
        let pauses: Vec<Duration> = (0..9).map(|_| next()).collect();
        assert!(pauses.is_sorted());
        assert_eq!((pauses[0], pauses[8]), (Duration::from_millis(10), Duration::from_secs(1)));
        pause.accepted();
        assert_eq!(pause.exhausted(&error), Pause::For(Duration::from_millis(10)));
    }
}
