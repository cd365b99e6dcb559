//! Load with a new connection for every request: connect, ask with `Connection: close`, read to the end, again.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    Exchange, Failure, Outcome, Waiting,
    connection::{Connection, Sent},
};

/// A run that fails this often has nothing more to tell.
const HOPELESS_FAILURES: u64 = 1000;
/// One loopback address has 28,000 ports for connections, which a fast server uses up in three seconds.
const SOURCE_ADDRESSES: u64 = 8;

/// How far one connection came.
#[derive(Debug)]
enum Step {
    Connecting,
    Asked,
    /// The answer is complete; the end of stream is due.
    Answered,
}

#[derive(Debug)]
struct Slot {
    connection: Connection,
    step: Step,
    began: Instant,
}

/// Keeps `width` connections under way for `duration`, then waits for those that are due.
pub(crate) fn run(
    exchange: &Exchange,
    width: usize,
    waiting: Waiting,
    duration: Duration,
) -> io::Result<Outcome> {
    let started = Instant::now();
    let until = started + duration;
    let mut load = Load { exchange, epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?, opened: 0 };
    let mut outcome = Outcome::default();
    let mut slots: Vec<Option<Slot>> = Vec::new();
    for index in 0..width {
        slots.push(load.open(index, &mut outcome));
    }
    let mut events = [EpollEvent::empty(); 256];
    let mut last_progress = started;
    while slots.iter().any(Option::is_some) && outcome.failures.total() < HOPELESS_FAILURES {
        let count = waiting.wait(&load.epoll, &mut events, None)?;
        for event in &events[..count] {
            let Ok(index) = usize::try_from(event.data()) else { continue };
            let Some(mut slot) = slots[index].take() else { continue };
            let now = Instant::now();
            match load.attend(&mut slot, index) {
                Ok(Progress::Waiting) => slots[index] = Some(slot),
                Ok(Progress::Done) => {
                    last_progress = now;
                    outcome.completed += 1;
                    let latency = now.duration_since(slot.began).as_nanos();
                    outcome.latencies_ns.push(u64::try_from(latency).unwrap_or(u64::MAX));
                }
                Err(failure) => outcome.failures.count(failure),
            }
            if slots[index].is_none() && now < until {
                slots[index] = load.open(index, &mut outcome);
            }
        }
        if last_progress.elapsed() >= exchange.patience {
            for _silent in slots.drain(..).flatten() {
                outcome.failures.count(Failure::TimedOut);
            }
        }
    }
    outcome.elapsed = last_progress.duration_since(started);
    Ok(outcome)
}

enum Progress {
    Waiting,
    Done,
}

struct Load<'a> {
    exchange: &'a Exchange,
    epoll: Epoll,
    opened: u64,
}

impl Load<'_> {
    /// `None` when it failed, which is counted.
    fn open(&mut self, index: usize, outcome: &mut Outcome) -> Option<Slot> {
        match self.connect(index) {
            Ok(connection) => Some(Slot { connection, step: Step::Connecting, began: Instant::now() }),
            Err(error) => {
                let failure = match Failure::from(error) {
                    Failure::Other => Failure::ConnectFailed,
                    known => known,
                };
                outcome.failures.count(failure);
                None
            }
        }
    }

    fn connect(&mut self, index: usize) -> io::Result<Connection> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        let last_byte = u8::try_from(2 + self.opened % SOURCE_ADDRESSES).unwrap_or(2);
        self.opened += 1;
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last_byte));
        socket.bind(&SocketAddr::new(source, 0).into())?;
        match socket.connect(&self.exchange.address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let stream = TcpStream::from(socket);
        self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLOUT, index as u64))?;
        Ok(Connection::new(stream))
    }

    fn attend(&self, slot: &mut Slot, index: usize) -> Result<Progress, Failure> {
        match slot.step {
            Step::Connecting => {
                if let Some(error) = slot.connection.stream.take_error()? {
                    return Err(error.into());
                }
                // A small request fits the socket buffer of a new connection; a large one is no work for this mode.
                match slot.connection.send(&self.exchange.request, slot.began)? {
                    Sent::Whole => {}
                    Sent::Part => return Err(Failure::Other),
                }
                slot.step = Step::Asked;
                let mut reading = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
                self.epoll.modify(&slot.connection.stream, &mut reading).map_err(io::Error::from)?;
                Ok(Progress::Waiting)
            }
            Step::Asked => {
                if slot.connection.receive(&self.exchange.expected)?.is_some() {
                    slot.step = Step::Answered;
                }
                Ok(Progress::Waiting)
            }
            Step::Answered => match slot.connection.receive(&self.exchange.expected) {
                Err(Failure::EndBeforeReply) => Ok(Progress::Done),
                Err(failure) => Err(failure),
                Ok(_nothing) => Ok(Progress::Waiting),
            },
        }
    }
}
