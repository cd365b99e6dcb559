//! What handshakes follow: rules that stay, and certificates that may be replaced while connections live. Shared by threads: a
//! worker learns of new certificates on one thread and accepts on another.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};

use super::{
    certificates::{Certificates, ServerCertificate},
    tickets::{KEY_BYTES, SharedTickets},
};

/// What a client may speak after the handshake, by the names of RFC 7301.
pub(super) const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// What stays over the life of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsRules {
    /// Nothing older is spoken.
    pub minimum_version: TlsVersion,
    /// IANA numbers of the cipher suites that may be used, in no order; all that are known to be good when empty.
    pub cipher_suites: Vec<u16>,
    /// Whether clients show certificates.
    pub client_certificates: ClientCertificates,
    /// A handshake must be over this long after the accept.
    pub handshake_timeout: Duration,
}

/// Versions of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2 (RFC 5246).
    Tls12,
    /// 1.3 (RFC 8446).
    Tls13,
}

/// Whether clients show certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked.
    None,
    /// They are asked; who has none is served too, who has a wrong one is not.
    Optional,
    /// Who has none is not served.
    Required,
}

/// What may be replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsMaterial {
    /// At least one; the first is for clients that ask for no name that is known.
    pub certificates: Vec<ServerCertificate>,
    /// PEM: authorities of the clients' certificates; empty where clients show none.
    pub client_authorities_pem: String,
    /// Secrets that seal session tickets: the first one seals, all open. Without any, sessions are not resumed.
    pub ticket_keys: Vec<[u8; KEY_BYTES]>,
}

/// Why no handshake could follow this: a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsError(pub String);

impl fmt::Display for TlsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

/// The configuration of a worker's TLS listeners.
#[derive(Debug)]
pub struct Tls {
    rules: TlsRules,
    current: Mutex<Arc<Configuration>>,
}

/// What one handshake follows to its end, whatever is replaced meanwhile.
#[derive(Debug)]
pub(super) struct Configuration {
    /// Offers HTTP/2, and HTTP/1 to whoever does not speak it.
    with_http2: Arc<ServerConfig>,
    /// Offers HTTP/1 alone.
    http1_only: Arc<ServerConfig>,
    pub(super) certificates: Arc<Certificates>,
}

impl Configuration {
    pub(super) fn rustls(&self, with_http2: bool) -> Arc<ServerConfig> {
        Arc::clone(if with_http2 { &self.with_http2 } else { &self.http1_only })
    }
}

impl Tls {
    /// Checks and prepares everything.
    ///
    /// # Errors
    /// A certificate or key that cannot be used, or rules that leave nothing to speak.
    pub fn new(rules: TlsRules, material: &TlsMaterial) -> Result<Self, TlsError> {
        let current = Mutex::new(Arc::new(configuration(&rules, material)?));
        Ok(Self { rules, current })
    }

    /// Uses other certificates for the connections that come from now on.
    ///
    /// # Errors
    /// As [`Tls::new`]; the certificates in use then stay.
    pub fn replace(&self, material: &TlsMaterial) -> Result<(), TlsError> {
        let fresh = Arc::new(configuration(&self.rules, material)?);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// As it is now, for one connection whose handshake begins later.
    pub(crate) fn snapshot(&self) -> Self {
        Self { rules: self.rules.clone(), current: Mutex::new(self.current()) }
    }

    pub(super) fn current(&self) -> Arc<Configuration> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn handshake_timeout(&self) -> Duration {
        self.rules.handshake_timeout
    }
}

fn configuration(rules: &TlsRules, material: &TlsMaterial) -> Result<Configuration, TlsError> {
    let in_words = |error: rustls::Error| TlsError(format!("TLS cannot be set up: {error}"));
    let provider = Arc::new(provider(rules)?);
    let versions: &[&SupportedProtocolVersion] = match rules.minimum_version {
        TlsVersion::Tls12 => &[&TLS13, &TLS12],
        TlsVersion::Tls13 => &[&TLS13],
    };
    let certificates = Arc::new(Certificates::new(&material.certificates, &provider)?);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(in_words)?;
    let builder = match client_verifier(rules.client_certificates, material, provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut rustls = builder.with_cert_resolver(Arc::clone(&certificates) as Arc<_>);
    rustls.alpn_protocols = vec![HTTP1.to_vec()];
    // Sessions live in tickets, which all workers can open, and not in the memory of one.
    rustls.session_storage = Arc::new(NoServerSessionStorage {});
    rustls.ticketer = Arc::new(SharedTickets::new(material.ticket_keys.clone()));
    if material.ticket_keys.is_empty() {
        rustls.send_tls13_tickets = 0;
    }
    let mut with_http2 = rustls.clone();
    with_http2.alpn_protocols.insert(0, HTTP2.to_vec());
    Ok(Configuration { with_http2: Arc::new(with_http2), http1_only: Arc::new(rustls), certificates })
}

fn provider(rules: &TlsRules) -> Result<CryptoProvider, TlsError> {
    let mut provider = ring::default_provider();
    if !rules.cipher_suites.is_empty() {
        provider.cipher_suites.retain(|suite| rules.cipher_suites.contains(&u16::from(suite.suite())));
    }
    if provider.cipher_suites.is_empty() {
        return Err(TlsError("no cipher suite is left".to_owned()));
    }
    Ok(provider)
}

fn client_verifier(
    wanted: ClientCertificates,
    material: &TlsMaterial,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    if wanted == ClientCertificates::None {
        return Ok(None);
    }
    let wrong = |error: &dyn fmt::Display| TlsError(format!("an authority cannot be used: {error}"));
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(material.client_authorities_pem.as_bytes()) {
        roots.add(authority.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match wanted {
        ClientCertificates::None | ClientCertificates::Required => builder,
        ClientCertificates::Optional => builder.allow_unauthenticated(),
    };
    Ok(Some(builder.build().map_err(|error| wrong(&error))?))
}
