//! Proves certificates before anybody sees them: each can be read, is valid now, and goes with its key. One who starts with what
//! is proven here can serve it.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    sync::Arc,
};

use protocol::settings::ClientCertificates;
use rustls::{
    Error, InconsistentKeys, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
    server::WebPkiClientVerifier,
    sign::CertifiedKey,
};
use x509_cert::{
    der::Decode as _,
    ext::pkix::{SubjectAltName, name::GeneralName},
    time::Time,
};

use super::{private_key, read_text};
use crate::{
    config::settings::tls::{CertificateFiles, Password, TlsFiles},
    error::{ExitStatus, Expected, ExpectedError},
};

/// Everything that TLS needs, good.
#[derive(PartialEq, Eq)]
pub(super) struct Proven {
    pub(super) pairs: Vec<ProvenPair>,
    /// Of the same certificates, in the same order.
    pub(super) facts: Vec<CertificateFacts>,
    pub(super) client_authorities_pem: String,
}

/// A certificate and its key.
#[derive(PartialEq, Eq)]
pub(super) struct ProvenPair {
    pub(super) chain_pem: String,
    pub(super) key_pem: String,
}

impl std::fmt::Debug for Proven {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The keys are nobody's business.
        f.debug_struct("Proven").field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// What people may know of a certificate in service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Where it was read.
    pub file: PathBuf,
    /// DNS names that it is good for, in lower case.
    pub names: Vec<String>,
    /// Its subject as RFC 4514 writes it.
    pub subject: String,
    /// The end of its validity, in seconds since 1970.
    pub not_after_s: u64,
    /// The same for people.
    pub not_after: String,
}

/// Reads and proves everything.
pub(super) fn prove(files: &TlsFiles, asked: ClientCertificates, now_s: u64) -> Expected<Proven> {
    let mut pairs = Vec::new();
    let mut facts = Vec::new();
    for pair in &files.certificates {
        let (proven, known) = prove_pair(pair, &files.password, now_s)?;
        pairs.push(proven);
        facts.push(known);
    }
    let client_authorities_pem = match &files.client_authorities {
        Some(path) => prove_authorities(path, asked)?,
        None => String::new(),
    };
    Ok(Proven { pairs, facts, client_authorities_pem })
}

fn prove_pair(
    files: &CertificateFiles,
    password: &Password,
    now_s: u64,
) -> Expected<(ProvenPair, CertificateFacts)> {
    let path = files.certificate.as_path();
    let (chain_pem, chain) = read_chain("the certificate", path)?;
    let mut facts = None;
    for (number, der) in chain.iter().enumerate() {
        let known = inspect(der, number, path, now_s)?;
        facts.get_or_insert(known);
    }
    let Some(facts) = facts else { return Err(without_certificate("the certificate", path)) };
    let key = private_key::read(&files.key, password)?;
    let key_file = files.key.display();
    match CertifiedKey::from_der(chain, key.der, &ring::default_provider()) {
        Ok(_) => Ok((ProvenPair { chain_pem, key_pem: key.pem }, facts)),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            let message =
                format!("the private key {key_file} is not the one of the certificate {}", path.display());
            Err(refusal("tls/key-mismatch", message).help(format!(
                "these two must print the same: `openssl x509 -noout -pubkey -in {}` and `openssl pkey -pubout -in {key_file}`",
                path.display()
            )))
        }
        Err(error) => {
            let message = format!("the private key {key_file} cannot be used: {error}");
            Err(refusal("tls/key", message)
                .help("use an RSA key of 2048 bits or more, or an ECDSA key on P-256 or P-384"))
        }
    }
}

fn read_chain(what: &str, path: &Path) -> Expected<(String, Vec<CertificateDer<'static>>)> {
    let text = read_text(what, path)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let chain = read.map_err(|error| {
        refusal("tls/not-pem", format!("{what} {} is broken: {error}", path.display()))
            .help("PEM text stands between `-----BEGIN CERTIFICATE-----` and `-----END CERTIFICATE-----`")
    })?;
    if chain.is_empty() {
        return Err(without_certificate(what, path));
    }
    Ok((text, chain))
}

fn without_certificate(what: &str, path: &Path) -> ExpectedError {
    refusal("tls/no-certificate", format!("{what} {} holds no certificate", path.display()))
        .help("PEM text stands between `-----BEGIN CERTIFICATE-----` and `-----END CERTIFICATE-----`")
}

/// Looks into one certificate of a chain; it must be valid now.
fn inspect(der: &CertificateDer<'_>, number: usize, path: &Path, now_s: u64) -> Expected<CertificateFacts> {
    let which = if number == 0 { String::new() } else { format!(" (number {} of its chain)", number + 1) };
    let name = format!("the certificate {}{which}", path.display());
    let parsed = x509_cert::Certificate::from_der(der)
        .map_err(|error| refusal("tls/broken", format!("{name} is broken: {error}")))?;
    let certificate = &parsed.tbs_certificate;
    let seconds = |time: &Time| time.to_unix_duration().as_secs();
    let validity = &certificate.validity;
    if now_s < seconds(&validity.not_before) {
        let message = format!("{name} is not valid before {}", text_of(&validity.not_before));
        return Err(
            refusal("tls/not-yet-valid", message).help("look whether this machine's clock is right: `date`")
        );
    }
    if now_s > seconds(&validity.not_after) {
        let message = format!("{name} expired at {}", text_of(&validity.not_after));
        return Err(refusal("tls/expired", message)
            .help("renew it; supervise takes a new file into service by itself within seconds"));
    }
    Ok(CertificateFacts {
        file: path.to_owned(),
        names: names(&parsed),
        subject: certificate.subject.to_string(),
        not_after_s: seconds(&validity.not_after),
        not_after: text_of(&validity.not_after),
    })
}

fn text_of(time: &Time) -> String {
    time.to_date_time().to_string()
}

/// The DNS names of the subject's alternative names; clients look at nothing else (RFC 9525 §2).
fn names(certificate: &x509_cert::Certificate) -> Vec<String> {
    let Ok(Some((_, SubjectAltName(names)))) = certificate.tbs_certificate.get::<SubjectAltName>() else {
        return Vec::new();
    };
    let dns = names.iter().filter_map(|name| match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        _ => None,
    });
    dns.collect()
}

fn prove_authorities(path: &Path, asked: ClientCertificates) -> Expected<String> {
    const WHAT: &str = "the authority";
    let (pem, authorities) = read_chain(WHAT, path)?;
    let unusable = |error: &dyn Display| {
        refusal("tls/authority", format!("{WHAT} {} cannot be used: {error}", path.display()))
    };
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|error| unusable(&error))?;
    }
    if asked != ClientCertificates::None {
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        verifier.map_err(|error| unusable(&error))?;
    }
    Ok(pem)
}

fn refusal(id: &'static str, message: String) -> ExpectedError {
    ExpectedError::new(id, ExitStatus::BadConfig, message)
}
