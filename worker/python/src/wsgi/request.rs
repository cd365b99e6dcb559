//! A request as it waits for the application: its head copied out of the read buffer, its body, and the connection it came on.
//! Nothing here knows Python, so that it may be made on a thread that never holds the interpreter.

use std::sync::Arc;

use worker_server::{ConnectionInfo, Offers, Peer, RequestHead, Scheme, TlsInfo, Version};

use super::{chunk::SharedObject, relay::Relay};

/// Names a request at the desk; harmless when the request is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestKey {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// A request that waits for the application.
pub(super) struct Request {
    pub(super) key: RequestKey,
    pub(super) relay: Arc<Relay>,
    pub(super) client: Arc<Client>,
    pub(super) version: Version,
    pub(super) method: Method,
    /// What the reply may use.
    pub(super) offers: Offers,
    pub(super) body: Body,
    /// Where a trusted proxy says that the application is mounted; as received.
    prefix: Vec<u8>,
    /// How much of the path is that.
    prefix_in_path: usize,
    texts: Texts,
}

/// What the reply's framing depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// The reply has no body.
    Head,
    /// Any other.
    Other,
}

/// The body as the application will find it.
pub(super) enum Body {
    /// All of it is here.
    Whole {
        bytes: Vec<u8>,
        /// The request says that there is one, even if it is empty.
        is_announced: bool,
    },
    /// It goes on in the relay. The length, where it is known.
    Streamed(Option<u64>),
}

impl Body {
    /// There is none.
    pub(super) const NONE: Self = Self::Whole { bytes: Vec::new(), is_announced: false };

    /// Its length, where it is known: said by the client, or counted because all of it is here.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Self::Whole { bytes, is_announced } => {
                (*is_announced || !bytes.is_empty()).then_some(bytes.len() as u64)
            }
            Self::Streamed(length) => *length,
        }
    }
}

/// What the environ says of the connection: made once for many requests.
pub(super) struct Client {
    pub(super) peer: Peer,
    pub(super) local: Peer,
    pub(super) scheme: Scheme,
    /// Of the connection; whoever is on the other end of it may speak for another client.
    pub(super) tls: Option<TlsInfo>,
    /// The environ that all requests of this client have in common, made when the first one needs it.
    pub(super) template: SharedObject,
}

impl Client {
    pub(super) fn of(connection: &ConnectionInfo) -> Self {
        Self {
            peer: connection.peer.clone(),
            local: connection.local.clone(),
            scheme: connection.scheme,
            tls: connection.tls.clone(),
            template: SharedObject::default(),
        }
    }
}

/// The texts of a head, one after the other in one allocation.
struct Texts {
    bytes: Vec<u8>,
    /// Where each ends: method, path, query, then names and values by turns.
    ends: Vec<u32>,
}

/// Texts before the header fields.
const FIRST_FIELD: usize = 3;

impl Texts {
    fn copy(head: &RequestHead<'_>) -> Self {
        let fields = head.headers.iter().map(|header| header.name.len() + header.value.len());
        let length = head.method.len() + head.path.len() + head.query.len() + fields.sum::<usize>();
        let mut texts = Self {
            bytes: Vec::with_capacity(length),
            ends: Vec::with_capacity(FIRST_FIELD + 2 * head.headers.len()),
        };
        for text in [head.method, head.path, head.query] {
            texts.push(text);
        }
        for header in head.headers {
            texts.push(header.name);
            texts.push(header.value);
        }
        texts
    }

    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        #[expect(clippy::cast_possible_truncation, reason = "a head is bounded by a setting of 32 bits")]
        self.ends.push(self.bytes.len() as u32);
    }

    fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start as usize..self.ends[index] as usize]
    }
}

impl Request {
    /// Copies what must outlive the call of the engine.
    pub(super) fn copy(
        head: &RequestHead<'_>,
        key: RequestKey,
        relay: Arc<Relay>,
        client: Arc<Client>,
        body: Body,
    ) -> Self {
        let method = if head.method == b"HEAD" { Method::Head } else { Method::Other };
        Self {
            key,
            relay,
            client,
            version: head.version,
            method,
            offers: head.offers,
            body,
            prefix: head.prefix.to_vec(),
            prefix_in_path: head.prefix_in_path(),
            texts: Texts::copy(head),
        }
    }

    /// The length that the client announced.
    pub(super) fn announced_length(&self) -> Option<u64> {
        let (_, value) = self.fields().find(|field| field.0 == b"content-length")?;
        str::from_utf8(value).ok()?.trim().parse().ok()
    }

    /// As received.
    pub(super) fn method(&self) -> &[u8] {
        self.texts.get(0)
    }

    /// As received, percent-encoded.
    pub(super) fn path(&self) -> &[u8] {
        self.texts.get(1)
    }

    /// The prefix; none where nobody told any.
    pub(super) fn prefix(&self) -> Option<&[u8]> {
        (!self.prefix.is_empty()).then_some(&self.prefix)
    }

    /// The path without the prefix, percent-encoded.
    pub(super) fn path_below_prefix(&self) -> &[u8] {
        &self.path()[self.prefix_in_path..]
    }

    /// Without the question mark.
    pub(super) fn query(&self) -> &[u8] {
        self.texts.get(2)
    }

    /// Header fields as they came, names in lower case.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let count = (self.texts.ends.len() - FIRST_FIELD) / 2;
        (0..count).map(|index| {
            let place = FIRST_FIELD + 2 * index;
            (self.texts.get(place), self.texts.get(place + 1))
        })
    }
}
