//! What an access log can say about a request when it begins: taken from its head, or from the bare request line of a request
//! that was refused before it had a head.

use std::{io::Write as _, net::SocketAddr};

use super::{basic_user, format::RequestFact};
use crate::{ConnectionInfo, Peer, RequestHead, Scheme, Version};

/// A request as far as it is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestFacts<'a> {
    /// The request line as received, perhaps not whole.
    pub(crate) line: &'a [u8],
    /// The head, if there is a sound one.
    pub(crate) head: Option<&'a RequestHead<'a>>,
    pub(crate) connection: &'a ConnectionInfo,
}

impl<'a> RequestFacts<'a> {
    /// The value of a fact; `scratch` is where one is put together that is not there in one piece.
    pub(super) fn value<'s>(&'s self, fact: &RequestFact, scratch: &'s mut Vec<u8>) -> Option<&'s [u8]>
    where
        'a: 's,
    {
        scratch.clear();
        match fact {
            RequestFact::ClientAddress => address(self.client(), scratch),
            RequestFact::ClientPort => port(self.client(), scratch),
            RequestFact::ClientAndPort => address_and_port(self.client(), scratch),
            RequestFact::ServerAddress => address(&self.connection.local, scratch),
            RequestFact::ServerPort => port(&self.connection.local, scratch),
            RequestFact::User => {
                basic_user::decode(self.field(b"authorization")?, scratch).then_some(&scratch[..])
            }
            RequestFact::Line => not_empty(self.line),
            RequestFact::Method => not_empty(self.head.map_or_else(|| self.word(0), |head| head.method)),
            RequestFact::Target => not_empty(self.word(1)),
            RequestFact::Path => not_empty(self.head.map_or_else(|| self.target_parts().0, |head| head.path)),
            RequestFact::Query => {
                not_empty(self.head.map_or_else(|| self.target_parts().1, |head| head.query))
            }
            RequestFact::Protocol => not_empty(self.protocol()),
            RequestFact::Version => {
                not_empty(self.protocol()).map(|it| it.strip_prefix(b"HTTP/").unwrap_or(it))
            }
            RequestFact::Scheme => Some(match self.head.map_or(self.connection.scheme, |head| head.scheme) {
                Scheme::Http => b"http",
                Scheme::Https => b"https",
            }),
            RequestFact::Field(name) => self.field(name),
        }
    }

    /// The client behind the proxies that are believed.
    fn client(&self) -> &'a Peer {
        self.head.map_or(&self.connection.peer, |head| head.client)
    }

    fn field(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.head?.headers.iter().find(|header| header.name == name).map(|header| header.value)
    }

    fn protocol(&self) -> &'a [u8] {
        match self.head.map(|head| head.version) {
            None => self.word(2),
            Some(Version::Http10) => b"HTTP/1.0",
            Some(Version::Http11) => b"HTTP/1.1",
            Some(Version::Http2) => b"HTTP/2",
        }
    }

    fn word(&self, index: usize) -> &'a [u8] {
        self.line.splitn(3, |&byte| byte == b' ').nth(index).unwrap_or_default()
    }

    /// Path and query of a target that nobody has looked at.
    fn target_parts(&self) -> (&'a [u8], &'a [u8]) {
        let target = self.word(1);
        match memchr::memchr(b'?', target) {
            Some(mark) => (&target[..mark], &target[mark + 1..]),
            None => (target, &[]),
        }
    }
}

fn not_empty(value: &[u8]) -> Option<&[u8]> {
    (!value.is_empty()).then_some(value)
}

fn address<'s>(peer: &Peer, scratch: &'s mut Vec<u8>) -> Option<&'s [u8]> {
    written(peer, scratch, |socket, out| write!(out, "{}", socket.ip()))
}

fn port<'s>(peer: &Peer, scratch: &'s mut Vec<u8>) -> Option<&'s [u8]> {
    written(peer, scratch, |socket, out| write!(out, "{}", socket.port()))
}

fn address_and_port<'s>(peer: &Peer, scratch: &'s mut Vec<u8>) -> Option<&'s [u8]> {
    // As uvicorn: an IPv6 address without brackets.
    written(peer, scratch, |socket, out| write!(out, "{}:{}", socket.ip(), socket.port()))
}

fn written<'s>(
    peer: &Peer,
    scratch: &'s mut Vec<u8>,
    write: impl FnOnce(&SocketAddr, &mut Vec<u8>) -> std::io::Result<()>,
) -> Option<&'s [u8]> {
    match peer {
        Peer::Tcp(socket) => write(socket, scratch).is_ok().then_some(&scratch[..]),
        Peer::Unix(_) => None,
    }
}
