//! What attackers do with sockets: send bombs, drip bytes, pour frames, and never read. Knows bytes, and no server's settings.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use socket2::{Domain, SockRef, Socket, Type};

use super::measure::{Attacker, Pace};

/// A server that neither reads nor answers for this long has the attacker turn elsewhere.
const IMPATIENCE: Duration = Duration::from_millis(100);
/// Little, so that little of a reply is on its way when nobody reads.
const SMALL_BUFFER_BYTES: usize = 4 * 1024;

fn connect(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(IMPATIENCE)).ok()?;
    stream.set_write_timeout(Some(IMPATIENCE)).ok()?;
    Some(stream)
}

/// A piece of a request, and how often it is sent.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    pub(super) times: usize,
}

/// Requests that are refused, each on a connection of its own: sends all that the server takes, reads what it says.
pub(super) struct Bombs {
    pub(super) address: SocketAddr,
    pub(super) bombs: Vec<Vec<Piece>>,
    pub(super) next: usize,
}

impl Attacker for Bombs {
    fn step(&mut self) -> Pace {
        let bomb = &self.bombs[self.next % self.bombs.len()];
        self.next += 1;
        if let Some(mut stream) = connect(self.address) {
            let mut pieces = bomb.iter().flat_map(|piece| std::iter::repeat_n(&piece.bytes, piece.times));
            let _ = pieces.try_for_each(|bytes| stream.write_all(bytes));
            let mut part = [0; 4096];
            while matches!(stream.read(&mut part), Ok(1..)) {}
        }
        Pace::Busy
    }
}

/// One connection after the other, into each of which waves are poured until the server has had enough of it.
pub(super) struct Flood {
    pub(super) address: SocketAddr,
    pub(super) opening: Vec<u8>,
    /// Makes wave number so and so of a connection.
    pub(super) wave: fn(u32) -> Vec<u8>,
    pub(super) stream: Option<(TcpStream, u32)>,
}

impl Attacker for Flood {
    fn step(&mut self) -> Pace {
        let Some((mut stream, number)) = self.stream.take() else {
            let Some(mut stream) = connect(self.address) else { return Pace::Rest };
            if stream.write_all(&self.opening).is_ok() {
                self.stream = Some((stream, 0));
            }
            return Pace::Busy;
        };
        if stream.write_all(&(self.wave)(number)).is_ok() && !has_ended(&stream) {
            self.stream = Some((stream, number + 1));
        }
        Pace::Busy
    }
}

/// Reads what is there; whether the server has closed.
fn has_ended(stream: &TcpStream) -> bool {
    let mut part = [0; 16 * 1024];
    let _ = stream.set_nonblocking(true);
    let ended = loop {
        match (&mut &*stream).read(&mut part) {
            Ok(0) => break true,
            Ok(_) => {}
            Err(error) => break error.kind() != ErrorKind::WouldBlock,
        }
    };
    let _ = stream.set_nonblocking(false);
    ended
}

/// Many connections that begin a request and go on with a byte now and then, or not at all.
pub(super) struct Drips {
    pub(super) address: SocketAddr,
    pub(super) opening: Vec<u8>,
    pub(super) drip: &'static [u8],
    pub(super) streams: Vec<Option<TcpStream>>,
    pub(super) last_drip: Instant,
}

impl Drips {
    pub(super) const INTERVAL: Duration = Duration::from_millis(200);

    pub(super) fn new(address: SocketAddr, count: usize, opening: &str, drip: &'static [u8]) -> Self {
        let streams = std::iter::repeat_with(|| None).take(count).collect();
        Self { address, opening: opening.as_bytes().to_vec(), drip, streams, last_drip: Instant::now() }
    }
}

impl Attacker for Drips {
    fn step(&mut self) -> Pace {
        if self.streams.iter().all(Option::is_some) && self.last_drip.elapsed() < Self::INTERVAL {
            return Pace::Rest;
        }
        self.last_drip = Instant::now();
        for slot in &mut self.streams {
            *slot = match slot.take() {
                None => connect(self.address)
                    .and_then(|mut stream| stream.write_all(&self.opening).is_ok().then_some(stream)),
                Some(mut stream) => {
                    (!has_ended(&stream) && stream.write_all(self.drip).is_ok()).then_some(stream)
                }
            };
        }
        Pace::Rest
    }
}

/// Many connections that ask for much and never read; each is given up for a new one after `life`.
pub(super) struct Deaf {
    pub(super) address: SocketAddr,
    pub(super) question: Vec<u8>,
    pub(super) life: Duration,
    pub(super) streams: Vec<Option<(TcpStream, Instant)>>,
}

impl Deaf {
    pub(super) fn new(address: SocketAddr, count: usize, question: Vec<u8>, life: Duration) -> Self {
        Self { address, question, life, streams: std::iter::repeat_with(|| None).take(count).collect() }
    }

    fn ask(&self) -> Option<(TcpStream, Instant)> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
        SockRef::from(&socket).set_recv_buffer_size(SMALL_BUFFER_BYTES).ok()?;
        socket.connect(&self.address.into()).ok()?;
        let mut stream = TcpStream::from(socket);
        stream.write_all(&self.question).ok()?;
        Some((stream, Instant::now()))
    }
}

impl Attacker for Deaf {
    fn step(&mut self) -> Pace {
        for index in 0..self.streams.len() {
            if self.streams[index].as_ref().is_none_or(|(_, asked)| asked.elapsed() >= self.life) {
                self.streams[index] = self.ask();
            }
        }
        Pace::Rest
    }
}

/// Many connections with one request behind them and nothing more to say.
pub(super) struct Idlers {
    pub(super) address: SocketAddr,
    pub(super) wanted: usize,
    pub(super) streams: Vec<TcpStream>,
}

impl Attacker for Idlers {
    fn step(&mut self) -> Pace {
        if self.streams.len() == self.wanted {
            return Pace::Rest;
        }
        if let Some(mut stream) = connect(self.address)
            && stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").is_ok()
            && matches!(stream.read(&mut [0; 1024]), Ok(1..))
        {
            self.streams.push(stream);
        }
        Pace::Busy
    }
}
