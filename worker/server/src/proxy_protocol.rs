//! The PROXY protocol, versions 1 and 2, as a pure parser: what a load balancer puts before the first byte of a connection to tell
//! whose connection it is. Specification: <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>.
//!
//! The parser says how many bytes belong to the header for certain, so that a reader takes not one byte of what follows it: TLS or
//! HTTP finds its own beginning in the socket.

use std::{
    ffi::OsStr,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
};

use crate::{Peer, http1::head::decimal};

/// The longest line of version 1, its end included (specification §2.1).
const LONGEST_LINE_BYTES: usize = 107;
/// The shortest line of version 1, which is also shorter than a header of version 2.
const SHORTEST_LINE: &[u8] = b"PROXY UNKNOWN\r\n";
/// How version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The part of a header of version 2 that always is there.
const FIXED_BYTES: usize = 16;
/// The most that may follow it. Addresses take 216 bytes at most, and what balancers add (the TLS version, a client certificate's
/// name, identifiers of clouds) some hundred.
const LONGEST_REST_BYTES: usize = 4096;

/// Which versions are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// The line of text.
    One,
    /// The binary header.
    Two,
    /// Either.
    Both,
}

/// What the bytes so far amount to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// So many more bytes belong to the header; perhaps others after them.
    Incomplete(usize),
    /// They are the whole header.
    Complete(Source),
    /// They begin no header.
    Malformed,
}

/// Whose connection it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The balancer's own (a health check), or nobody knows: what the socket says stands.
    Own,
    /// Somebody else's.
    Relayed {
        /// Who opened it.
        peer: Peer,
        /// What it was opened to.
        local: Peer,
    },
}

/// Parses the bytes at the start of a connection, of which no more were read than the parser asked for.
pub(crate) fn parse(bytes: &[u8], versions: Versions) -> Parsed {
    let Some(&first) = bytes.first() else {
        return Parsed::Incomplete(match versions {
            Versions::One | Versions::Both => SHORTEST_LINE.len(),
            Versions::Two => FIXED_BYTES,
        });
    };
    match (versions, first) {
        (Versions::One | Versions::Both, b'P') => parse_line(bytes),
        (Versions::Two | Versions::Both, b'\r') => parse_binary(bytes),
        (Versions::One | Versions::Two | Versions::Both, _) => Parsed::Malformed,
    }
}

fn parse_line(bytes: &[u8]) -> Parsed {
    if bytes.len() < SHORTEST_LINE.len() {
        let is_possible = [&b"PROXY UNKNOWN"[..], b"PROXY TCP4 ", b"PROXY TCP6 "]
            .iter()
            .any(|start| bytes.iter().zip(*start).all(|(byte, known)| byte == known));
        let missing = SHORTEST_LINE.len() - bytes.len();
        return if is_possible { Parsed::Incomplete(missing) } else { Parsed::Malformed };
    }
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        return match missing_of_line(bytes) {
            Some(missing) if bytes.len() + missing <= LONGEST_LINE_BYTES => Parsed::Incomplete(missing),
            Some(_) | None => Parsed::Malformed,
        };
    };
    let line = bytes.strip_suffix(b"\r\n").filter(|_| end + 1 == bytes.len());
    line.and_then(source_of_line).map_or(Parsed::Malformed, Parsed::Complete)
}

/// The least that a line without its end still needs. None when it can never become one.
fn missing_of_line(line: &[u8]) -> Option<usize> {
    let end = if line.last() == Some(&b'\r') { 1 } else { 2 };
    if line.starts_with(b"PROXY UNKNOWN") {
        return Some(end);
    }
    let shortest_address = if line.starts_with(b"PROXY TCP4 ") { "0.0.0.0".len() } else { "::".len() };
    let shortest = [shortest_address, shortest_address, 1, 1];
    let fields = line.strip_prefix(b"PROXY TCP4 ").or_else(|| line.strip_prefix(b"PROXY TCP6 "))?;
    let mut lengths = fields.split(|&byte| byte == b' ').map(<[u8]>::len);
    let mut missing = end;
    for shortest in shortest {
        missing += match lengths.next() {
            Some(length) => shortest.saturating_sub(length),
            None => shortest + 1,
        };
    }
    lengths.next().is_none().then_some(missing)
}

/// A line without its end.
fn source_of_line(line: &[u8]) -> Option<Source> {
    if line == b"PROXY UNKNOWN" || line.starts_with(b"PROXY UNKNOWN ") {
        return Some(Source::Own);
    }
    let mut fields = std::str::from_utf8(line).ok()?.split(' ');
    let _proxy = fields.next();
    let address: fn(&str) -> Option<IpAddr> = match fields.next()? {
        "TCP4" => |text| text.parse::<Ipv4Addr>().ok().map(IpAddr::from),
        "TCP6" => |text| text.parse::<Ipv6Addr>().ok().map(|address| IpAddr::from(address).to_canonical()),
        _ => return None,
    };
    let (source, destination) = (address(fields.next()?)?, address(fields.next()?)?);
    let port = |text: &str| decimal(text.as_bytes()).and_then(|port| u16::try_from(port).ok());
    let (source_port, destination_port) = (port(fields.next()?)?, port(fields.next()?)?);
    fields.next().is_none().then(|| relayed((source, source_port), (destination, destination_port)))
}

fn parse_binary(bytes: &[u8]) -> Parsed {
    if !bytes.iter().zip(SIGNATURE).all(|(byte, known)| byte == known) {
        return Parsed::Malformed;
    }
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() else {
        return Parsed::Incomplete(FIXED_BYTES - bytes.len());
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    // What is not assigned must not be guessed at: the specification wants such connections dropped.
    let is_known = matches!(command, 0x20 | 0x21) && family >> 4 <= 3 && family & 0x0f <= 2;
    if !is_known || length > LONGEST_REST_BYTES || rest.len() > length {
        return Parsed::Malformed;
    }
    if rest.len() < length {
        return Parsed::Incomplete(length - rest.len());
    }
    if command == 0x20 {
        return Parsed::Complete(Source::Own);
    }
    source_of_addresses(family, rest).map_or(Parsed::Malformed, Parsed::Complete)
}

/// The addresses of version 2. What follows them (TLVs) is for others.
fn source_of_addresses(family: u8, bytes: &[u8]) -> Option<Source> {
    match family {
        0x11 => {
            let (addresses, ports) = (bytes.get(..8)?, bytes.get(8..12)?);
            let (source, destination) = addresses.split_at(4);
            let address = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
            Some(relayed((address(source)?, port_at(ports, 0)), (address(destination)?, port_at(ports, 2))))
        }
        0x21 => {
            let (addresses, ports) = (bytes.get(..32)?, bytes.get(32..36)?);
            let (source, destination) = addresses.split_at(16);
            let address =
                |bytes: &[u8]| <[u8; 16]>::try_from(bytes).map(|it| IpAddr::from(it).to_canonical()).ok();
            Some(relayed((address(source)?, port_at(ports, 0)), (address(destination)?, port_at(ports, 2))))
        }
        0x31 => {
            let (source, destination) = bytes.get(..216)?.split_at(108);
            Some(Source::Relayed { peer: unix(source), local: unix(destination) })
        }
        // Unspecified, or datagrams, which cannot have become this connection.
        _ => Some(Source::Own),
    }
}

fn port_at(ports: &[u8], place: usize) -> u16 {
    u16::from_be_bytes([ports[place], ports[place + 1]])
}

fn relayed(source: (IpAddr, u16), destination: (IpAddr, u16)) -> Source {
    Source::Relayed {
        peer: Peer::Tcp(SocketAddr::from(source)),
        local: Peer::Tcp(SocketAddr::from(destination)),
    }
}

/// A path that is filled up with zeros.
fn unix(bytes: &[u8]) -> Peer {
    let path = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    Peer::Unix((!path.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(path))))
}

#[cfg(test)]
mod tests;
