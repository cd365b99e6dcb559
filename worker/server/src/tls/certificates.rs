//! The server's certificates by the names that clients ask for (SNI, RFC 6066 §3).

use std::{collections::HashMap, sync::Arc};

use rustls::{
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::configuration::TlsError;

/// A certificate with its chain, its key and the names that it is shown for.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerCertificate {
    /// DNS names in lower case; the first label may be `*`. Names that no client can ask for (addresses) do no harm.
    pub names: Vec<String>,
    /// PEM: the certificate itself, then those that lead to its authority.
    pub chain_pem: String,
    /// PEM: the private key, not encrypted.
    pub key_pem: String,
}

impl std::fmt::Debug for ServerCertificate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is nobody's business.
        formatter.debug_struct("ServerCertificate").field("names", &self.names).finish_non_exhaustive()
    }
}

/// One certificate, ready for handshakes.
#[derive(Debug)]
pub(super) struct Shown {
    key: Arc<CertifiedKey>,
    /// The certificate itself, without its chain.
    pub(super) pem: String,
}

/// All certificates of one configuration. The first one is for clients that ask for no name, or for one that nobody has.
#[derive(Debug)]
pub(super) struct Certificates {
    shown: Vec<Arc<Shown>>,
    by_name: HashMap<String, usize>,
}

impl Certificates {
    pub(super) fn new(given: &[ServerCertificate], provider: &CryptoProvider) -> Result<Self, TlsError> {
        let mut shown = Vec::new();
        let mut by_name = HashMap::new();
        for (index, certificate) in given.iter().enumerate() {
            shown.push(Arc::new(prepared(certificate, provider)?));
            for name in &certificate.names {
                // Of two certificates for one name the first one is shown.
                by_name.entry(name.clone()).or_insert(index);
            }
        }
        if shown.is_empty() {
            return Err(TlsError("there is no certificate".to_owned()));
        }
        Ok(Self { shown, by_name })
    }

    /// The certificate for a name: its own, that of its wildcard (which stands for one label, RFC 6125 §6.4.3), or the first.
    pub(super) fn for_name(&self, name: Option<&str>) -> &Arc<Shown> {
        let index = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let wildcard = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
            self.by_name.get(&name).or_else(wildcard)
        });
        &self.shown[index.copied().unwrap_or(0)]
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.for_name(hello.server_name()).key))
    }
}

fn prepared(certificate: &ServerCertificate, provider: &CryptoProvider) -> Result<Shown, TlsError> {
    let chain = CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError(format!("a certificate cannot be read: {error}")))?;
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes())
        .map_err(|error| TlsError(format!("a private key cannot be read: {error}")))?;
    let own = chain.first().ok_or_else(|| TlsError("a certificate's chain is empty".to_owned()))?;
    let pem = super::info::to_pem(own);
    let key = CertifiedKey::from_der(chain, key, provider)
        .map_err(|error| TlsError(format!("a certificate and its key do not go together: {error}")))?;
    Ok(Shown { key: Arc::new(key), pem })
}
