//! One epoll descriptor over the pipes and pidfds of all workers: the event loop sleeps on one descriptor however many
//! workers there are, and can ask without waiting whether anything is left to read. Reads nothing itself.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use supervisor_fleet::WorkerId;
use tokio::io::{Interest, unix::AsyncFd};

/// Taken from the kernel at once.
const BATCH: usize = 64;

/// What of a worker is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Its pipe has something to read, or is closed.
    Pipe,
    /// Its process is over.
    Process,
}

/// Watches the descriptors of all workers. Must be made inside the runtime.
#[derive(Debug)]
pub struct Watch {
    epoll: AsyncFd<Shared>,
}

/// Gives an [`Epoll`] the trait that [`AsyncFd`] asks for.
#[derive(Debug)]
struct Shared(Epoll);

impl AsRawFd for Shared {
    fn as_raw_fd(&self) -> RawFd {
        self.0.0.as_raw_fd()
    }
}

impl Watch {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn new() -> io::Result<Self> {
        let epoll = Shared(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?);
        #[expect(
            deprecated,
            reason = "its successor is unsafe; an Epoll owns its descriptor and never changes it"
        )]
        let epoll = AsyncFd::with_interest(epoll, Interest::READABLE)?;
        Ok(Self { epoll })
    }

    /// Watches one descriptor of a worker until [`Watch::remove`].
    ///
    /// # Errors
    /// No memory left in the kernel.
    pub fn add(&self, worker: WorkerId, source: Source, fd: &impl AsFd) -> io::Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, key(worker, source));
        Ok(self.epoll.get_ref().0.add(fd, event)?)
    }

    /// Stops watching; one that is not watched is no error.
    pub fn remove(&self, fd: &impl AsFd) {
        let _not_watched = self.epoll.get_ref().0.delete(fd);
    }

    /// Sleeps until something is ready.
    pub async fn readable(&self) {
        if let Ok(mut ready) = self.epoll.readable().await {
            // Kept as ready as long as something is: see ready_now.
            ready.retain_ready();
        }
    }

    /// What is ready now, without waiting; asks the kernel and not only what tokio knows. Empty means that nothing is left, and arms
    /// [`Watch::readable`] anew.
    pub fn ready_now(&self) -> Vec<(WorkerId, Source)> {
        let mut events = [EpollEvent::empty(); BATCH];
        let mut take = |shared: &Shared| shared.0.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
        let count = match take(self.epoll.get_ref()) {
            // An empty answer inside of try_io tells tokio that the next readiness is news.
            0 => self.epoll.try_io(Interest::READABLE, |shared| match take(shared) {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                count => Ok(count),
            }),
            count => Ok(count),
        };
        events[..count.unwrap_or(0)].iter().map(|event| parts(event.data())).collect()
    }
}

fn key(worker: WorkerId, source: Source) -> u64 {
    worker.0 << 1
        | match source {
            Source::Pipe => 0,
            Source::Process => 1,
        }
}

fn parts(key: u64) -> (WorkerId, Source) {
    (WorkerId(key >> 1), if key & 1 == 0 { Source::Pipe } else { Source::Process })
}
