//! What an application may learn of the TLS below its connection. The parts that cost something are made when they are asked for.

use std::sync::Arc;

use rustls::{ServerConnection, pki_types::CertificateDer};
use x509_cert::der::{
    Decode as _,
    pem::{LineEnding, encode_string},
};

use super::{certificates::Shown, configuration::Configuration};

/// What was agreed on and shown in the handshake of one connection.
#[derive(Debug, Clone)]
pub struct TlsInfo {
    /// As on the wire: 0x0303 for TLS 1.2, 0x0304 for TLS 1.3.
    pub version: u16,
    /// IANA number of the cipher suite.
    pub cipher_suite: u16,
    /// The name that the client asked for, in lower case.
    pub server_name: Option<String>,
    shown: Arc<Shown>,
    /// The client's certificate first; empty if it showed none. Verified.
    client_chain: Vec<CertificateDer<'static>>,
}

impl TlsInfo {
    pub(super) fn of(session: &ServerConnection, configuration: &Configuration) -> Self {
        Self {
            version: session.protocol_version().map_or(0, u16::from),
            cipher_suite: session.negotiated_cipher_suite().map_or(0, |suite| u16::from(suite.suite())),
            server_name: session.server_name().map(str::to_ascii_lowercase),
            shown: Arc::clone(configuration.certificates.for_name(session.server_name())),
            client_chain: session.peer_certificates().unwrap_or_default().to_vec(),
        }
    }

    /// Our own certificate in PEM, without its chain.
    #[must_use]
    pub fn server_certificate_pem(&self) -> &str {
        &self.shown.pem
    }

    /// The client's certificate and what it sent of its chain, each in PEM; empty if it showed none.
    #[must_use]
    pub fn client_chain_pem(&self) -> Vec<String> {
        self.client_chain.iter().map(|certificate| to_pem(certificate)).collect()
    }

    /// The subject of the client's certificate as RFC 4514 writes it: `CN=alice,O=Example`.
    #[must_use]
    pub fn client_name(&self) -> Option<String> {
        let certificate = x509_cert::Certificate::from_der(self.client_chain.first()?).ok()?;
        Some(certificate.tbs_certificate.subject.to_string())
    }

    /// What programs behind gateways are told of the client's certificate, by mod_ssl's names. Only what was verified is in it: a
    /// client with a certificate that is not good does not get past the handshake.
    #[must_use]
    pub fn client_variables(&self) -> Vec<(&'static str, String)> {
        let certificate = self.client_chain.first();
        let parsed = certificate.and_then(|it| x509_cert::Certificate::from_der(it).ok());
        let (Some(certificate), Some(parsed)) = (certificate, parsed) else {
            return vec![("SSL_CLIENT_VERIFY", "NONE".to_owned())];
        };
        let parsed = &parsed.tbs_certificate;
        let serial = parsed.serial_number.as_bytes().iter().map(|byte| format!("{byte:02X}"));
        vec![
            ("SSL_CLIENT_VERIFY", "SUCCESS".to_owned()),
            ("SSL_CLIENT_S_DN", parsed.subject.to_string()),
            ("SSL_CLIENT_I_DN", parsed.issuer.to_string()),
            ("SSL_CLIENT_M_SERIAL", serial.collect()),
            ("SSL_CLIENT_CERT", to_pem(certificate)),
        ]
    }

    /// Whether the client showed a certificate.
    #[must_use]
    pub fn has_client_certificate(&self) -> bool {
        !self.client_chain.is_empty()
    }
}

/// PEM with the usual lines of 64 characters.
pub(super) fn to_pem(certificate: &[u8]) -> String {
    // The label is a constant and the length is bounded by the handshake: this cannot fail.
    encode_string("CERTIFICATE", LineEnding::LF, certificate).unwrap_or_default()
}
