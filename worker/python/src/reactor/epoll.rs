//! The one epoll instance.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::epoll::{Epoll as NixEpoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};

/// Events taken in one turn. The rest wait for the next, after the host loop had its share.
const EVENTS_PER_TURN: usize = 256;

/// How the kernel repeats itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trigger {
    /// Tells each change once.
    Edge,
}

/// What became ready on a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) read: bool,
    pub(super) write: bool,
    /// The peer closed or reset: reads will end, so a short one proves nothing.
    pub(super) hang_up: bool,
}

pub(super) struct Epoll {
    epoll: NixEpoll,
}

impl Epoll {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { epoll: NixEpoll::new(EpollCreateFlags::EPOLL_CLOEXEC)? })
    }

    pub(super) fn as_raw_fd(&self) -> RawFd {
        self.epoll.0.as_fd().as_raw_fd()
    }

    pub(super) fn add(&self, descriptor: BorrowedFd<'_>, token: u64, trigger: Trigger) -> io::Result<()> {
        let trigger = match trigger {
            Trigger::Edge => EpollFlags::EPOLLET,
        };
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | trigger;
        Ok(self.epoll.add(descriptor, EpollEvent::new(flags, token))?)
    }

    /// Asks the kernel without waiting.
    pub(super) fn poll(&self, events: &mut Events) {
        while self.collect(EpollTimeout::ZERO, events) == Err(Errno::EINTR) {}
    }

    /// Waits until something is ready, a signal comes, or the time is over; without a time, for ever.
    pub(super) fn wait(&self, time: Option<Duration>, events: &mut Events) {
        // Rounded up, so that a timer is due when the wait for it is over.
        let milliseconds = time.map(|time| i32::try_from(time.as_millis() + 1).unwrap_or(i32::MAX));
        let timeout = milliseconds
            .map_or(EpollTimeout::NONE, |time| EpollTimeout::try_from(time).unwrap_or(EpollTimeout::MAX));
        // Interrupted by a signal: the turn goes on with what it has, nothing.
        let _ = self.collect(timeout, events);
    }

    /// EBADF or EINVAL would be a bug of ours: there are no events then.
    fn collect(&self, timeout: EpollTimeout, events: &mut Events) -> nix::Result<()> {
        events.count = 0;
        events.count = self.epoll.wait(&mut events.list, timeout)?;
        Ok(())
    }
}

/// What became ready: one list for all turns.
pub(super) struct Events {
    list: [EpollEvent; EVENTS_PER_TURN],
    count: usize,
}

impl Default for Events {
    fn default() -> Self {
        Self { list: [EpollEvent::empty(); EVENTS_PER_TURN], count: 0 }
    }
}

impl Events {
    /// Reports each. True when there may be more than one turn takes.
    pub(super) fn report(&self, mut report: impl FnMut(u64, Ready)) -> bool {
        for event in &self.list[..self.count] {
            let flags = event.events();
            let broken = EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
            let hang_up = flags.intersects(broken | EpollFlags::EPOLLRDHUP);
            report(
                event.data(),
                Ready {
                    read: hang_up || flags.contains(EpollFlags::EPOLLIN),
                    write: flags.intersects(broken | EpollFlags::EPOLLOUT),
                    hang_up,
                },
            );
        }
        self.count == EVENTS_PER_TURN
    }
}
