//! What every accepting loop must know of accept(2), whatever drives it: which errors are harmless, and who is on the other end.

use std::{io, net::SocketAddr};

use worker_server::Peer;

/// What kept a connection from being accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptFailure {
    /// None waits.
    QueueEmpty,
    /// The connection broke before it was accepted; the next one is unharmed (accept(2), "Error handling").
    OneConnection,
    /// The system has no descriptors or no memory, or the socket is broken.
    System,
}

/// What an error of accept(2) means for the next one.
#[must_use]
pub fn classify(error: &io::Error) -> AcceptFailure {
    match error.kind() {
        io::ErrorKind::WouldBlock => AcceptFailure::QueueEmpty,
        io::ErrorKind::Interrupted
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::TimedOut => AcceptFailure::OneConnection,
        _ => AcceptFailure::System,
    }
}

/// The other end of a TCP connection, as applications expect it.
#[must_use]
pub fn tcp_peer(address: SocketAddr) -> Peer {
    // A socket on [::] shows IPv4 clients as ::ffff:a.b.c.d; applications expect a.b.c.d.
    Peer::Tcp(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

/// The other end of a unix connection: a path where it has one.
#[must_use]
pub fn unix_peer(address: &std::os::unix::net::SocketAddr) -> Peer {
    Peer::Unix(address.as_pathname().map(ToOwned::to_owned))
}
