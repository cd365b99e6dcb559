//! A small HTTP/1.1 client that hides nothing: it sends the bytes it is told to, and shows the reply as it came.

use std::{
    fmt, io,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use crate::patient;

/// Longest wait for a piece of a reply.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Header fields that a reply of ours may have.
const MAX_HEADERS: usize = 64;

/// A whole reply.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Fields in the order of the wire; names as they came.
    pub headers: Vec<(String, String)>,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

impl Reply {
    /// The first field of this name, whatever the case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(held, _)| held.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the server said that it closes the connection.
    #[must_use]
    pub fn announces_close(&self) -> bool {
        self.header("connection").is_some_and(|value| value.to_ascii_lowercase().contains("close"))
    }
}

/// What bytes of a reply amount to so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// Not the whole reply yet.
    Incomplete,
    /// The whole reply and the number of bytes that it took.
    Whole(Reply, usize),
    /// No reply of HTTP.
    Invalid(String),
}

/// Whether more bytes may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// They may.
    Open,
    /// The peer closed its side: a body that ends with the connection is whole.
    Ended,
}

/// Parses one reply to a request with `method` from the start of `bytes`; interim replies (1xx) are skipped.
#[must_use]
pub fn parse_reply(bytes: &[u8], method: &str, stream: Stream) -> Parsed {
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut fields);
    let head_length = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Parsed::Incomplete,
        Err(error) => return Parsed::Invalid(format!("the reply's head is malformed: {error}")),
    };
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers: Vec<_> =
        head.headers.iter().map(|field| (field.name.to_owned(), text(field.value))).collect();
    let mut reply = Reply { status: head.code.unwrap_or(0), headers, body: Vec::new() };
    let rest = &bytes[head_length..];
    if (100..200).contains(&reply.status) && reply.status != 101 {
        return match parse_reply(rest, method, stream) {
            Parsed::Whole(reply, length) => Parsed::Whole(reply, head_length + length),
            other => other,
        };
    }
    let has_no_body = method == "HEAD" || matches!(reply.status, 101 | 204 | 304);
    if has_no_body {
        return Parsed::Whole(reply, head_length);
    }
    if reply.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        return match parse_chunks(rest) {
            Chunks::Incomplete => Parsed::Incomplete,
            Chunks::Invalid => Parsed::Invalid("the chunked body is malformed".to_owned()),
            Chunks::Whole(body, length) => {
                reply.body = body;
                Parsed::Whole(reply, head_length + length)
            }
        };
    }
    let length = match reply.header("content-length").map(str::parse::<usize>) {
        Some(Ok(length)) => length,
        Some(Err(_)) => return Parsed::Invalid("the Content-Length is no number".to_owned()),
        None if stream == Stream::Open => return Parsed::Incomplete,
        None => rest.len(),
    };
    let Some(body) = rest.get(..length) else { return Parsed::Incomplete };
    reply.body = body.to_vec();
    Parsed::Whole(reply, head_length + length)
}

enum Chunks {
    Incomplete,
    Invalid,
    Whole(Vec<u8>, usize),
}

fn parse_chunks(bytes: &[u8]) -> Chunks {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let (start, size) = match httparse::parse_chunk_size(&bytes[at..]) {
            Ok(httparse::Status::Complete((length, size))) => (at + length, size),
            Ok(httparse::Status::Partial) => return Chunks::Incomplete,
            Err(_) => return Chunks::Invalid,
        };
        let Ok(size) = usize::try_from(size) else { return Chunks::Invalid };
        // No trailers: the server does not send any.
        let Some(chunk) = bytes.get(start..start + size + 2) else { return Chunks::Incomplete };
        let Some(data) = chunk.strip_suffix(b"\r\n") else { return Chunks::Invalid };
        body.extend_from_slice(data);
        at = start + size + 2;
        if size == 0 {
            return Chunks::Whole(body, at);
        }
    }
}

/// A connection, TCP or unix.
trait Transport: Read + Write + fmt::Debug + Send {}
impl<T: Read + Write + fmt::Debug + Send> Transport for T {}

/// One connection, used by one request after the other.
#[derive(Debug)]
pub struct Connection {
    transport: Box<dyn Transport>,
    received: Vec<u8>,
}

impl Connection {
    /// Connects to a TCP address.
    ///
    /// # Errors
    /// Those of connect(2).
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patient(READ_TIMEOUT))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patient(READ_TIMEOUT)))?;
        Ok(Self { transport: Box::new(stream), received: Vec::new() })
    }

    /// Connects to a unix socket.
    ///
    /// # Errors
    /// Those of connect(2).
    pub fn open_unix(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(patient(READ_TIMEOUT)))?;
        Ok(Self { transport: Box::new(stream), received: Vec::new() })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// Those of send(2).
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.transport.write_all(bytes)
    }

    /// Reads one reply to a request with `method`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the connection ends before the reply does, `InvalidData` when it is no reply, `WouldBlock` when nothing
    /// came in time, and those of recv(2).
    pub fn receive(&mut self, method: &str) -> io::Result<Reply> {
        let mut stream = Stream::Open;
        loop {
            match parse_reply(&self.received, method, stream) {
                Parsed::Whole(reply, length) => {
                    self.received.drain(..length);
                    return Ok(reply);
                }
                Parsed::Invalid(cause) => return Err(io::Error::new(io::ErrorKind::InvalidData, cause)),
                Parsed::Incomplete if stream == Stream::Ended => {
                    let got = String::from_utf8_lossy(&self.received).into_owned();
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("ended after {got:?}")));
                }
                Parsed::Incomplete => {}
            }
            if self.read_some()? == 0 {
                stream = Stream::Ended;
            }
        }
    }

    fn read_some(&mut self) -> io::Result<usize> {
        let mut part = [0; 16 * 1024];
        let count = loop {
            match self.transport.read(&mut part) {
                // A read with a timeout is not begun again by the system.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.received.extend_from_slice(&part[..count]);
        Ok(count)
    }

    /// Reads until `part` was received; the bytes stay for [`Connection::receive`].
    ///
    /// # Errors
    /// `UnexpectedEof` when the connection ends before, and those of recv(2).
    pub fn receive_until(&mut self, part: &[u8]) -> io::Result<()> {
        while !self.received.windows(part.len()).any(|window| window == part) {
            if self.read_some()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Reads to the end of the connection, at most `READ_TIMEOUT` long between two pieces, and gives back all that came.
    ///
    /// # Errors
    /// Those of recv(2).
    pub fn receive_to_end(&mut self) -> io::Result<Vec<u8>> {
        while self.read_some()? != 0 {}
        Ok(std::mem::take(&mut self.received))
    }

    /// One request and its reply.
    ///
    /// # Errors
    /// Those of [`Connection::send`] and [`Connection::receive`].
    pub fn request(&mut self, request: &Request<'_>) -> io::Result<Reply> {
        self.send(&request.bytes())?;
        self.receive(request.method)
    }
}

/// A request.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Method.
    pub method: &'a str,
    /// Request target.
    pub target: &'a str,
    /// Fields; Host and Content-Length are added when they are not there.
    pub headers: &'a [(&'a str, &'a str)],
    /// Body.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// A GET without fields.
    #[must_use]
    pub fn get(target: &'a str) -> Self {
        Self { method: "GET", target, headers: &[], body: &[] }
    }

    /// Its bytes on the wire.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let has = |name: &str| self.headers.iter().any(|(held, _)| held.eq_ignore_ascii_case(name));
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !has("host") {
            text.push_str("Host: localhost\r\n");
        }
        for (name, value) in self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let framed = has("content-length") || has("transfer-encoding");
        if !self.body.is_empty() && !framed {
            text.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(self.body);
        bytes
    }
}

/// One GET on a connection of its own.
///
/// # Errors
/// Those of [`Connection::open`] and [`Connection::request`].
pub fn get(address: SocketAddr, target: &str) -> io::Result<Reply> {
    let headers = [("Connection", "close")];
    Connection::open(address)?.request(&Request { headers: &headers, ..Request::get(target) })
}
