//! What a worker is told of TLS. Certificates and keys are not here, because settings stand in the environment: they come in the
//! [`crate::credentials`].

use serde::{Deserialize, Serialize};

/// TLS on the listening sockets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// Of the inherited sockets, so many at the end speak plain HTTP; those before them speak TLS.
    pub plain_listeners: u32,
    /// What a plain listener does.
    pub plain: PlainListeners,
    /// Nothing older is spoken.
    pub minimum_version: TlsVersion,
    /// IANA numbers of the cipher suites that may be used; all that the worker holds for good when empty.
    pub cipher_suites: Vec<u16>,
    /// Whether clients show certificates.
    pub client_certificates: ClientCertificates,
    /// A handshake must be over this long after the accept.
    pub handshake_timeout_ms: u64,
}

/// What a listener without TLS does beside others that have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum PlainListeners {
    /// It serves the application.
    Serve,
    /// It sends every request on to the same host and path by https.
    RedirectToHttps {
        /// At this port, 443 being left out of the address; none: the port of the first socket that speaks TLS.
        port: Option<u16>,
    },
}

/// Versions of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsVersion {
    /// RFC 5246.
    #[serde(rename = "1.2")]
    Tls12,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    Tls13,
}

/// Whether clients show certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificates {
    /// They are not asked.
    None,
    /// They are asked; who has none is served too, who has a wrong one is not.
    Optional,
    /// Who has none is not served.
    Required,
}
