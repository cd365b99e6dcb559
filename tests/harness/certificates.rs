//! Certificates for tests of TLS, and a client that looks at what a server shows it.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use crate::patient;

/// An authority that only its own clients trust.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, in PEM.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// Now.
    Now,
    /// It was.
    Over,
    /// It will be.
    Ahead,
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    /// When the system has no randomness.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a default that makes keys would surprise")]
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("an authority") }
    }

    /// Its own certificate.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for these names, valid now.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_for(names, Validity::Now, &KeyPair::generate().expect("a key"))
    }

    /// A certificate for these names and this key.
    ///
    /// # Panics
    /// When a name is none.
    #[must_use]
    pub fn issue_for(&self, names: &[&str], validity: Validity, key: &KeyPair) -> Issued {
        let list: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(list).expect("names");
        (params.not_before, params.not_after) = match validity {
            Validity::Now => (date_time_ymd(2020, 1, 1), date_time_ymd(2099, 1, 1)),
            Validity::Over => (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1)),
            Validity::Ahead => (date_time_ymd(2098, 1, 1), date_time_ymd(2099, 1, 1)),
        };
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.distinguished_name.push(DnType::CommonName, *names.first().unwrap_or(&"nobody"));
        let certificate = params.signed_by(key, &self.issuer).expect("signed").pem();
        Issued { certificate, key: key.serialize_pem() }
    }

    /// A client that trusts this authority, and shows `identity`.
    ///
    /// # Panics
    /// When the identity is none.
    #[must_use]
    pub fn client(&self, identity: Option<&Issued>) -> TlsClient {
        let mut roots = RootCertStore::empty();
        let own = CertificateDer::from_pem_slice(self.pem().as_bytes()).expect("PEM");
        roots.add(own).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(Issued { certificate, key }) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM")];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
                builder.with_client_auth_cert(chain, key).expect("an identity")
            }
        };
        TlsClient { config: Arc::new(config) }
    }
}

/// A client of https.
#[derive(Debug, Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
}

/// What a client saw.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The server's certificate in DER.
    pub certificate: Vec<u8>,
    /// The reply, head and body.
    pub reply: String,
}

impl TlsClient {
    /// The same client, offering HTTP/2 alone.
    pub(crate) fn of_http2(&self) -> Arc<ClientConfig> {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }

    /// Asks for `target` of `name` on a connection of its own, and reads until the server closes it.
    ///
    /// # Errors
    /// The server refuses the connection, or the client the server; or it ends without a farewell.
    pub fn get(&self, address: SocketAddr, name: &str, target: &str) -> io::Result<Seen> {
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(patient(Duration::from_secs(10))))?;
        let server = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let session = ClientConnection::new(Arc::clone(&self.config), server).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(session, socket);
        write!(stream, "GET {target} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n")?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        let certificate = stream.conn.peer_certificates().and_then(|chain| chain.first());
        Ok(Seen { certificate: certificate.map(|it| it.to_vec()).unwrap_or_default(), reply })
    }
}

impl Issued {
    /// Whether this is what a client saw.
    ///
    /// # Panics
    /// When this is no certificate.
    #[must_use]
    pub fn is_in(&self, seen: &Seen) -> bool {
        let own = CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("PEM");
        own.as_ref() == seen.certificate
    }
}
