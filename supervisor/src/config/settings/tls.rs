//! Settles what is asked of TLS: which files, and which rules. Opens no file.

use std::path::{Path, PathBuf};

use protocol::{
    defaults,
    settings::{ClientCertificates, PlainListeners, TlsSettings, TlsVersion},
};

use crate::{
    config::{
        raw::RawSettings,
        values::{
            BindAddress,
            tls::{RedirectHttps, Secret},
        },
    },
    error::{ExitStatus, Expected, ExpectedError},
};

/// Files that hold what TLS needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// At least one; the first is for clients that ask for no name that is known.
    pub certificates: Vec<CertificateFiles>,
    /// Authorities of the clients' certificates.
    pub client_authorities: Option<PathBuf>,
    /// Opens encrypted keys.
    pub password: Password,
}

/// One certificate with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate and its chain.
    pub certificate: PathBuf,
    /// The private key; the same file where nobody named another.
    pub key: PathBuf,
}

/// Where the password of encrypted keys is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Password {
    /// Nowhere.
    None,
    /// It came in the environment.
    Given(Secret),
    /// The first line of this file.
    InFile(PathBuf),
}

/// What was settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledTls {
    /// For the supervisor.
    pub files: TlsFiles,
    /// For the workers.
    pub worker: TlsSettings,
}

/// Settles TLS; none where no certificate is named. `bind` is where TLS will be spoken.
///
/// # Errors
/// Exit 2 for settings that mean nothing without others.
pub(super) fn settle(
    raw: &RawSettings,
    directory: &Path,
    bind: &[BindAddress],
) -> Expected<Option<SettledTls>> {
    if raw.certfile.is_empty() {
        return refuse_without_certificate(raw).map(|()| None);
    }
    let client_certificates = raw.cert_reqs.map_or(ClientCertificates::None, |choice| choice.0);
    match (client_certificates, &raw.ca_certs) {
        (ClientCertificates::None, None)
        | (ClientCertificates::Optional | ClientCertificates::Required, Some(_)) => {}
        (ClientCertificates::None, Some(_)) => {
            return Err(usage("--ca-certs is for the certificates of clients, which are not asked for any")
                .help("ask them by --cert-reqs optional, or --cert-reqs required"));
        }
        (ClientCertificates::Optional | ClientCertificates::Required, None) => {
            return Err(usage("--cert-reqs asks clients for certificates, and no authority is named")
                .help("name the file with the authority that issued them: --ca-certs FILE"));
        }
    }
    Ok(Some(SettledTls {
        files: TlsFiles {
            certificates: certificate_files(raw, directory)?,
            client_authorities: raw.ca_certs.as_ref().map(|path| directory.join(path)),
            password: password(raw, directory)?,
        },
        worker: TlsSettings {
            plain_listeners: u32::try_from(raw.insecure_bind.len()).unwrap_or(u32::MAX),
            plain: plain_listeners(raw, bind)?,
            minimum_version: raw.tls_minimum_version.map_or(TlsVersion::Tls12, |choice| choice.0),
            cipher_suites: raw.ciphers.as_ref().map(|suites| suites.0.clone()).unwrap_or_default(),
            client_certificates,
            handshake_timeout_ms: raw
                .tls_handshake_timeout
                .map_or(defaults::TLS_HANDSHAKE_TIMEOUT_MS, |time| time.ms),
        },
    }))
}

fn certificate_files(raw: &RawSettings, directory: &Path) -> Expected<Vec<CertificateFiles>> {
    let (certificates, keys) = (&raw.certfile, &raw.keyfile);
    if !keys.is_empty() && keys.len() != certificates.len() {
        let message =
            format!("{} --certfile and {} --keyfile do not pair up", certificates.len(), keys.len());
        return Err(usage(message)
            .help("name one key for each certificate, in the same order; or none, where each certificate's file holds its key"));
    }
    let pair = |(index, certificate): (usize, &PathBuf)| CertificateFiles {
        certificate: directory.join(certificate),
        key: directory.join(keys.get(index).unwrap_or(certificate)),
    };
    Ok(certificates.iter().enumerate().map(pair).collect())
}

fn password(raw: &RawSettings, directory: &Path) -> Expected<Password> {
    match (&raw.keyfile_password, &raw.keyfile_password_file) {
        (None, None) => Ok(Password::None),
        (Some(password), None) => Ok(Password::Given(password.clone())),
        (None, Some(file)) => Ok(Password::InFile(directory.join(file))),
        (Some(_), Some(_)) => {
            Err(usage("the password of the key comes from SUPERVISE_KEYFILE_PASSWORD and from a file")
                .help("leave one of them away"))
        }
    }
}

fn plain_listeners(raw: &RawSettings, bind: &[BindAddress]) -> Expected<PlainListeners> {
    let redirect = raw.redirect_https.unwrap_or(RedirectHttps::No);
    if redirect != RedirectHttps::No && raw.insecure_bind.is_empty() {
        return Err(usage("--redirect-https needs a listener without TLS to redirect from")
            .help("name it: --insecure-bind 0.0.0.0:80"));
    }
    match redirect {
        RedirectHttps::No => Ok(PlainListeners::Serve),
        RedirectHttps::ToPort(port) => Ok(PlainListeners::RedirectToHttps { port: Some(port) }),
        RedirectHttps::ToOwnPort if bind.iter().any(|it| matches!(it, BindAddress::Tcp { .. })) => {
            Ok(PlainListeners::RedirectToHttps { port: None })
        }
        RedirectHttps::ToOwnPort => Err(usage("--redirect-https: TLS is spoken on no port here")
            .help("say where clients find it: --redirect-https=443")),
    }
}

/// No option is accepted and ignored.
fn refuse_without_certificate(raw: &RawSettings) -> Expected<()> {
    let given = [
        ("--keyfile", !raw.keyfile.is_empty()),
        ("--keyfile-password-file", raw.keyfile_password_file.is_some()),
        ("--ca-certs", raw.ca_certs.is_some()),
        ("--cert-reqs", raw.cert_reqs.is_some_and(|choice| choice.0 != ClientCertificates::None)),
        ("--ciphers", raw.ciphers.is_some()),
        ("--tls-minimum-version", raw.tls_minimum_version.is_some()),
        ("--tls-handshake-timeout", raw.tls_handshake_timeout.is_some()),
        ("--insecure-bind", !raw.insecure_bind.is_empty()),
        ("--redirect-https", raw.redirect_https.is_some_and(|choice| choice != RedirectHttps::No)),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        None => Ok(()),
        Some((name, _)) => Err(usage(format!("{name} means nothing without TLS"))
            .help("name a certificate and its key: --certfile FILE --keyfile FILE")),
    }
}

fn usage(message: impl Into<String>) -> ExpectedError {
    ExpectedError::new("settings/tls", ExitStatus::Usage, message)
}
