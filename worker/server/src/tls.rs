//! TLS below whatever a connection speaks: the handshake as a stage, the stream as I/O, and what both are configured with. By
//! rustls, driven by hands: knows no file, no clock of its own and no HTTP beyond one refusal.

mod certificates;
mod configuration;
mod handshake;
mod info;
mod maybe_tls;
mod stream;
mod tickets;

pub use certificates::ServerCertificate;
pub use configuration::{ClientCertificates, Tls, TlsError, TlsMaterial, TlsRules, TlsVersion};
pub use handshake::HandshakeEnd;
pub use info::TlsInfo;

pub(crate) use handshake::{Agreed, Handshake, HandshakeProgress, Secured};
pub(crate) use maybe_tls::MaybeTls;
use stream::TlsStream;
