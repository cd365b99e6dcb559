//! Load over a fixed number of keep-alive connections, in a closed loop or by the clock.

use std::{
    collections::VecDeque,
    io,
    net::TcpStream,
    time::{Duration, Instant},
};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::{
    Exchange, Failure, Outcome, Pace, Waiting,
    connection::{Answer, Connection, Sent},
    reply::Afterwards,
    websocket,
};

/// A run that fails this often has nothing more to tell.
const HOPELESS_FAILURES: u64 = 1000;

/// The connections, kept open from run to run.
#[derive(Debug)]
pub(crate) struct Client {
    exchange: Exchange,
    waiting: Waiting,
    epoll: Epoll,
    connections: Vec<Option<Connection>>,
}

/// What changes during one run.
#[derive(Debug)]
struct Run {
    outcome: Outcome,
    due: usize,
    last_progress: Instant,
    feed: Feed,
}

/// Where the next request comes from.
#[derive(Debug)]
enum Feed {
    /// Every answer before `until` is followed by a request.
    Closed { until: Instant },
    /// A request falls due every `interval`; `free` connections wait for it, or it waits for one.
    Open { next: Instant, interval: Duration, until: Instant, free: VecDeque<usize> },
}

impl Client {
    /// Opens `count` connections.
    pub(crate) fn connect(exchange: Exchange, count: usize, waiting: Waiting) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut client = Client { exchange, waiting, epoll, connections: Vec::new() };
        for index in 0..count {
            let connection = client.open(index)?;
            client.connections.push(Some(connection));
        }
        Ok(client)
    }

    /// Loads the server for `duration`, then waits for the answers that are due.
    pub(crate) fn run(&mut self, pace: Pace, duration: Duration) -> io::Result<Outcome> {
        let started = Instant::now();
        let until = started + duration;
        let feed = match pace {
            Pace::Closed => Feed::Closed { until },
            Pace::Open { rate } => Feed::open(&self.connections, started, until, rate),
        };
        let outcome = Outcome { latencies_ns: Vec::with_capacity(1 << 18), ..Outcome::default() };
        let mut run = Run { outcome, due: 0, last_progress: started, feed };
        if let Feed::Closed { .. } = run.feed {
            for index in 0..self.connections.len() {
                self.send(&mut run, index, started)?;
            }
        }
        let mut events = [EpollEvent::empty(); 256];
        while run.has_work() && run.outcome.failures.total() < HOPELESS_FAILURES {
            self.send_what_is_due(&mut run)?;
            let count = self.waiting.wait(&self.epoll, &mut events, run.next_deadline())?;
            for event in &events[..count] {
                self.attend(&mut run, event)?;
            }
            self.give_up_on_silence(&mut run);
        }
        run.outcome.elapsed = run.last_progress.duration_since(started);
        Ok(run.outcome)
    }

    fn open(&self, index: usize) -> io::Result<Connection> {
        let mut stream = TcpStream::connect(self.exchange.address)?;
        if let Some(opening) = &self.exchange.opening {
            stream.set_read_timeout(Some(self.exchange.patience))?;
            websocket::open(&mut stream, opening)?;
        }
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
        Ok(Connection::new(stream))
    }

    /// Sends a request whose answer is due from `since` on.
    fn send(&mut self, run: &mut Run, index: usize, since: Instant) -> io::Result<()> {
        let Some(connection) = self.connections[index].as_mut() else { return Ok(()) };
        match connection.send(&self.exchange.request, since) {
            Ok(Sent::Whole) => run.due += 1,
            Ok(Sent::Part) => {
                run.due += 1;
                let both = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT;
                self.epoll.modify(&connection.stream, &mut EpollEvent::new(both, index as u64))?;
            }
            Err(failure) => {
                run.outcome.failures.count(failure);
                self.connections[index] = None;
            }
        }
        Ok(())
    }

    /// Sends what the clock says is due.
    fn send_what_is_due(&mut self, run: &mut Run) -> io::Result<()> {
        while let Some((index, since)) = run.next_by_clock() {
            self.send(run, index, since)?;
        }
        Ok(())
    }

    fn attend(&mut self, run: &mut Run, event: &EpollEvent) -> io::Result<()> {
        let Ok(index) = usize::try_from(event.data()) else { return Ok(()) };
        let Some(connection) = self.connections[index].as_mut() else { return Ok(()) };
        let was_due = connection.is_due();
        let mut attended = Ok(None);
        if event.events().contains(EpollFlags::EPOLLOUT) {
            attended = connection.send_rest(&self.exchange.request).map(|_sent| None);
            let reading = EpollFlags::EPOLLIN;
            self.epoll.modify(&connection.stream, &mut EpollEvent::new(reading, index as u64))?;
        }
        if attended.is_ok() && event.events() != EpollFlags::EPOLLOUT {
            attended = connection.receive(&self.exchange.expected);
        }
        match attended {
            Ok(None) => Ok(()),
            Ok(Some(answer)) => self.answered(run, index, answer),
            Err(failure) => {
                run.due -= usize::from(was_due);
                run.outcome.failures.count(failure);
                self.connections[index] = None;
                Ok(())
            }
        }
    }

    fn answered(&mut self, run: &mut Run, index: usize, answer: Answer) -> io::Result<()> {
        let now = Instant::now();
        let latency = now.duration_since(answer.due_since);
        run.outcome.latencies_ns.push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        run.outcome.completed += 1;
        run.last_progress = now;
        run.due -= 1;
        if answer.afterwards == Afterwards::Close {
            run.outcome.announced_closes += 1;
            self.connections[index] = None;
            match self.open(index) {
                Ok(connection) => self.connections[index] = Some(connection),
                Err(error) => {
                    run.outcome.failures.count(error.into());
                    return Ok(());
                }
            }
        }
        match &mut run.feed {
            Feed::Closed { until } if now < *until => self.send(run, index, now),
            Feed::Closed { .. } => Ok(()),
            Feed::Open { free, .. } => {
                free.push_back(index);
                Ok(())
            }
        }
    }

    fn give_up_on_silence(&mut self, run: &mut Run) {
        if run.due == 0 || run.last_progress.elapsed() < self.exchange.patience {
            return;
        }
        for connection in &mut self.connections {
            if connection.as_ref().is_some_and(Connection::is_due) {
                run.outcome.failures.count(Failure::TimedOut);
                *connection = None;
            }
        }
        run.due = 0;
        run.feed.end();
    }
}

impl Run {
    fn has_work(&self) -> bool {
        self.due > 0
            || match &self.feed {
                Feed::Closed { .. } => false,
                // Without a free connection and with no answer due, every connection is dead.
                Feed::Open { next, until, free, .. } => next < until && !free.is_empty(),
            }
    }

    /// The next request by the clock and the connection for it, if both are there.
    fn next_by_clock(&mut self) -> Option<(usize, Instant)> {
        let Feed::Open { next, interval, until, free, .. } = &mut self.feed else { return None };
        let since = *next;
        if since >= *until || since > Instant::now() {
            return None;
        }
        let index = free.pop_front()?;
        *next += *interval;
        if self.due == 0 {
            // Patience begins with the first answer that is due, not with the last one that came.
            self.last_progress = Instant::now();
        }
        Some((index, since))
    }

    /// When there is something to do, whatever the server does.
    fn next_deadline(&self) -> Option<Instant> {
        match &self.feed {
            Feed::Open { next, until, free, .. } if next < until && !free.is_empty() => Some(*next),
            Feed::Open { .. } | Feed::Closed { .. } => None,
        }
    }
}

impl Feed {
    fn open(connections: &[Option<Connection>], started: Instant, until: Instant, rate: u32) -> Feed {
        let free = (0..connections.len()).filter(|index| connections[*index].is_some()).collect();
        Feed::Open { next: started, interval: Duration::from_secs(1) / rate, until, free }
    }

    fn end(&mut self) {
        match self {
            Feed::Closed { until } | Feed::Open { until, .. } => *until = Instant::now(),
        }
    }
}
