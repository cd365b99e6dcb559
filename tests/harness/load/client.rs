//! The sending side: one thread, one task for each request in flight.

use std::{
    cell::Cell,
    io,
    mem::MaybeUninit,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::LocalSet,
    time::timeout,
};

use super::{Connections, Failure, FailureKind, Load, Shared};
use crate::http::{Parsed, Reply, Stream, parse_reply};

/// After a failed connect, so that a refusing server is not hammered by a busy loop.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_millis(5);

/// Sends until the limit or the stop.
pub(super) fn run(load: &Load, shared: &Arc<Shared>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    let tasks = LocalSet::new();
    let last_id = Rc::new(Cell::new(0));
    for number in 0..load.concurrency {
        let client = Client {
            load: load.clone(),
            shared: Arc::clone(shared),
            last_id: Rc::clone(&last_id),
            next_source: number,
            connection: None,
        };
        tasks.spawn_local(client.run());
    }
    runtime.block_on(tasks);
}

/// One sender.
struct Client {
    load: Load,
    shared: Arc<Shared>,
    last_id: Rc<Cell<u64>>,
    next_source: usize,
    connection: Option<Connection>,
}

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    made_at: Instant,
    answered: u64,
    /// Of the last answer.
    pid: u32,
}

/// A request's end: its reply, or how it failed and what else is known.
type Outcome = Result<Reply, (FailureKind, String)>;

impl Client {
    async fn run(mut self) {
        while let Some(id) = self.next_id() {
            self.send_one(id).await;
            if !self.load.think_time.is_zero() {
                tokio::time::sleep(self.load.think_time).await;
            }
        }
    }

    fn next_id(&self) -> Option<u64> {
        let id = self.last_id.get() + 1;
        if !self.shared.begins(&self.load, id) {
            return None;
        }
        self.last_id.set(id);
        Some(id)
    }

    async fn send_one(&mut self, id: u64) {
        self.drop_closed_connection();
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match self.connect().await {
                Ok(connection) => connection,
                Err(error) => return self.note_refusal(&error).await,
            },
        };
        let request = (self.load.make_request)(id, self.load.connections);
        let begun = Instant::now();
        let outcome = match timeout(self.load.timeout, connection.exchange(&request)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                Err((FailureKind::TimedOut, format!("{} bytes of the reply came", connection.received.len())))
            }
        };
        let outcome = outcome.and_then(|reply| self.judge(id, reply, &mut connection));
        match outcome {
            Ok(reply) => {
                let taken_us = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
                self.shared.latencies_us().push(taken_us);
                self.keep_or_close(connection, &reply);
            }
            Err((kind, detail)) => self.shared.with_report(|report| {
                let connected_at = Some(connection.made_at);
                report.note(Failure { kind, at: Instant::now(), connected_at, pid: connection.pid, detail });
            }),
        }
    }

    /// Before a byte of the next request is sent: a connection that the server closed meanwhile is counted and given up.
    fn drop_closed_connection(&mut self) {
        let Some(connection) = &self.connection else { return };
        let mut byte = [MaybeUninit::uninit()];
        // Asks the kernel itself: the runtime may not have heard of the close yet.
        let closed = match SockRef::from(&connection.stream).peek(&mut byte) {
            Ok(0) => None,
            Ok(_) => Some((FailureKind::WrongBody, "bytes that nobody asked for".to_owned())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => Some((FailureKind::ResetOnReused, format!("while idle: {error}"))),
        };
        let failure = closed.map(|(kind, detail)| Failure {
            kind,
            at: Instant::now(),
            connected_at: Some(connection.made_at),
            pid: connection.pid,
            detail,
        });
        self.connection = None;
        self.shared.with_report(|report| match failure {
            None => report.clean_closes += 1,
            Some(failure) => report.note(failure),
        });
    }

    async fn connect(&mut self) -> io::Result<Connection> {
        let source = self.load.sources[self.next_source % self.load.sources.len()];
        self.next_source += 1;
        let socket = TcpSocket::new_v4()?;
        // The port is chosen at connect, by the pair of addresses, so that ports are not used up.
        setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
        socket.bind((source, 0).into())?;
        let stream = timeout(self.load.timeout, socket.connect(self.load.target)).await??;
        stream.set_nodelay(true)?;
        self.shared.with_report(|report| report.connections += 1);
        Ok(Connection { stream, received: Vec::new(), made_at: Instant::now(), answered: 0, pid: 0 })
    }

    async fn note_refusal(&self, error: &io::Error) {
        let is_refusal = error.kind() == io::ErrorKind::ConnectionRefused;
        let kind = if is_refusal { FailureKind::Refused } else { FailureKind::NotConnected };
        let failure =
            Failure { kind, at: Instant::now(), connected_at: None, pid: 0, detail: error.to_string() };
        self.shared.with_report(|report| report.note(failure));
        tokio::time::sleep(PAUSE_AFTER_REFUSAL).await;
    }

    /// Whether a whole reply is the right one.
    fn judge(&self, id: u64, reply: Reply, connection: &mut Connection) -> Outcome {
        if !(200..300).contains(&reply.status) {
            return Err((FailureKind::BadStatus, format!("{}: {}", reply.status, reply.text())));
        }
        let tags = (self.load.check)(id, &reply).map_err(|detail| (FailureKind::WrongBody, detail))?;
        if !connection.received.is_empty() {
            return Err((FailureKind::WrongBody, "bytes after the end of the reply".to_owned()));
        }
        connection.answered += 1;
        connection.pid = tags.pid;
        self.shared.with_report(|report| report.note_answer(tags));
        Ok(reply)
    }

    fn keep_or_close(&mut self, connection: Connection, reply: &Reply) {
        let was_announced = reply.announces_close();
        match self.load.connections {
            Connections::KeptAlive if was_announced => {
                self.shared.with_report(|report| report.announced_closes += 1);
            }
            Connections::KeptAlive => self.connection = Some(connection),
            Connections::NewEachTime | Connections::Http2 { .. } => {}
        }
    }
}

impl Connection {
    /// Sends a request and receives its whole reply.
    async fn exchange(&mut self, request: &[u8]) -> Outcome {
        if let Err(error) = self.stream.write_all(request).await {
            return Err((self.kind_of_silence(&error), format!("while sending: {error}")));
        }
        let mut part = [0; 8 * 1024];
        loop {
            let count = match self.stream.read(&mut part).await {
                Ok(count) => count,
                Err(error) if self.received.is_empty() => {
                    return Err((self.kind_of_silence(&error), error.to_string()));
                }
                Err(error) => return Err((FailureKind::Truncated, error.to_string())),
            };
            self.received.extend_from_slice(&part[..count]);
            let stream = if count == 0 { Stream::Ended } else { Stream::Open };
            match parse_reply(&self.received, "GET", stream) {
                Parsed::Whole(reply, length) => {
                    self.received.drain(..length);
                    return Ok(reply);
                }
                Parsed::Invalid(cause) => return Err((FailureKind::WrongBody, cause)),
                Parsed::Incomplete if count > 0 => {}
                Parsed::Incomplete if self.received.is_empty() => {
                    let detail = format!("after {} answers on it", self.answered);
                    return Err((FailureKind::ClosedUnanswered, detail));
                }
                Parsed::Incomplete => {
                    return Err((FailureKind::Truncated, format!("after {} bytes", self.received.len())));
                }
            }
        }
    }

    /// How an error before the first byte of the reply is called.
    fn kind_of_silence(&self, error: &io::Error) -> FailureKind {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe if self.answered == 0 => {
                FailureKind::ResetOnFresh
            }
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => FailureKind::ResetOnReused,
            _ => FailureKind::ClosedUnanswered,
        }
    }
}
