//! The HTTP engine: turns bytes of a connection into calls of an [`App`], and the app's replies into bytes.
//!
//! Generic over the app, the I/O ([`Transport`]: `hyper::rt::{Read, Write}` and files) and the timer (`hyper::rt::Timer`); single-threaded, `!Send`.
//! Knows no runtime, no Python, no process, no scoreboard.

mod access_log;
mod app;
mod body_pace;
mod connection;
mod deadline;
mod drain;
mod exchange;
mod forwarded;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod gate;
mod http1;
mod http2;
mod inbound;
mod limits;
mod mailbox;
mod output;
mod policy;
mod proxy_protocol;
mod service;
mod stream;
mod tls;
mod transport;
mod turns;
mod websocket;

pub use access_log::{
    AccessLog, AccessOutput, Format, LINE_BYTES, LocalTime, Notation, OutcomeFact, RequestFact, Step,
};
pub use app::{
    App, BodyLength, ConnectionInfo, Header, Meter, Offers, Peer, PrefixPlace, RequestHead, RequestOutcome,
    Scheme, TimeLimit, Version,
};
pub use connection::Connection;
pub use drain::{Drain, Fewer};
pub use exchange::{Exchange, Last, ReplyError, Room, Taken};
pub use forwarded::{
    ForwardedField, ForwarderField, Forwarding, SecureSchemeField, TrustedPeer, TrustedPeers,
};
pub use limits::{AdmissionLimits, Compression, HalfClose, Http2Limits, Limits, WebSocketLimits};
pub use policy::{AutomaticField, Policy, ProxyProtocol, ReplyFields};
pub use proxy_protocol::Versions as ProxyVersions;
pub use service::{Clock, Service};
pub use tls::{
    ClientCertificates, HandshakeEnd, ServerCertificate, Tls, TlsError, TlsInfo, TlsMaterial, TlsRules,
    TlsVersion,
};
pub use transport::{FileSending, Transport};
pub use websocket::{AcceptError, Close, MessageKind, Received, SendError, WebSocket};
