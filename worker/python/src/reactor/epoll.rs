//! The one epoll instance.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
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

    /// Reports what is ready now. True when there may be more than one turn takes.
    pub(super) fn poll(&self, mut report: impl FnMut(u64, Ready)) -> bool {
        let mut events = [EpollEvent::empty(); EVENTS_PER_TURN];
        let count = loop {
            match self.epoll.wait(&mut events, EpollTimeout::ZERO) {
                Ok(count) => break count,
                Err(Errno::EINTR) => {}
                // EBADF or EINVAL would be a bug of ours; the turn goes on with what it has.
                Err(_) => break 0,
            }
        };
        for event in &events[..count] {
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
        count == EVENTS_PER_TURN
    }
}
