//! TLS as a worker is told of it: the settings, and the credentials in the memory that it inherits, become what the engine's
//! handshakes follow. Reads that memory anew when the supervisor has changed it. Knows no socket.

use std::{
    fs::File,
    os::{fd::OwnedFd, unix::fs::FileExt},
    sync::Arc,
    time::Duration,
};

use protocol::{
    credentials::{self, Credentials, HEADER_BYTES},
    settings::{self, PlainListeners, TlsSettings},
};
use worker_server::{ClientCertificates, ServerCertificate, Tls, TlsMaterial, TlsRules, TlsVersion};

use crate::{apps::RedirectToHttps, error::StartError, inherited_sockets::Listener};

/// A header that changes while it is read is read again, so often: it changes once a second at most.
const READS: usize = 100;

/// What connections of a listener begin with.
#[derive(Debug, Clone)]
pub enum Security {
    /// Nothing: the application is served in the clear.
    Plain,
    /// A handshake.
    Tls(Arc<Tls>),
    /// Nothing, and every request is sent on to https.
    Redirect(RedirectToHttps),
}

/// The security of all listeners of a worker. A clone is the same; any thread may renew it.
#[derive(Debug, Clone)]
pub struct ListenerSecurity {
    /// None where every listener is plain.
    secured: Option<Secured>,
}

#[derive(Debug, Clone)]
struct Secured {
    tls: Arc<Tls>,
    memory: Arc<File>,
    plain_listeners: usize,
    plain: PlainListeners,
}

impl ListenerSecurity {
    /// Prepares what the settings ask for, with the credentials that `memory` holds.
    ///
    /// # Errors
    /// [`StartError`] when TLS is asked for and the credentials are not there or cannot be used.
    pub fn new(settings: Option<&TlsSettings>, memory: Option<OwnedFd>) -> Result<Self, StartError> {
        let Some(settings) = settings else { return Ok(Self { secured: None }) };
        let Some(memory) = memory.map(File::from) else {
            return Err(StartError::boot("TLS is asked for, but no credentials were passed on"));
        };
        let refused = |why: String| StartError::boot(format!("TLS cannot be offered: {why}"));
        let material = read(&memory).map_err(refused)?;
        let tls = Tls::new(rules(settings), &material).map_err(|error| refused(error.0))?;
        let plain_listeners = usize::try_from(settings.plain_listeners).unwrap_or(usize::MAX);
        Ok(Self {
            secured: Some(Secured {
                tls: Arc::new(tls),
                memory: Arc::new(memory),
                plain_listeners,
                plain: settings.plain,
            }),
        })
    }

    /// The security of each listener, in their order.
    #[must_use]
    pub fn of_all(&self, listeners: &[Listener]) -> Vec<Security> {
        let Some(secured) = &self.secured else { return vec![Security::Plain; listeners.len()] };
        let (over_tls, plain) = listeners.split_at(listeners.len().saturating_sub(secured.plain_listeners));
        let beside = match secured.plain {
            PlainListeners::Serve => Security::Plain,
            PlainListeners::RedirectToHttps { port } => {
                let own = || over_tls.iter().find_map(port_of);
                Security::Redirect(RedirectToHttps::new(port.or_else(own)))
            }
        };
        let secured = over_tls.iter().map(|_| Security::Tls(Arc::clone(&secured.tls)));
        secured.chain(plain.iter().map(|_| beside.clone())).collect()
    }

    /// The credentials have changed: connections that come from now on use the new ones. The supervisor has proven them, so that a
    /// failure is a bug; what was in use then stays.
    pub fn renew(&self) {
        let Some(secured) = &self.secured else { return };
        let renewed = read(&secured.memory)
            .and_then(|material| secured.tls.replace(&material).map_err(|error| error.0));
        match renewed {
            Ok(()) => tracing::debug!("new certificates are in use"),
            Err(error) => tracing::error!(error, "new certificates cannot be used; the old ones stay"),
        }
    }
}

fn port_of(listener: &Listener) -> Option<u16> {
    match listener {
        Listener::Tcp(socket) => socket.local_addr().ok().map(|address| address.port()),
        Listener::Unix(_) => None,
    }
}

fn read(memory: &File) -> Result<TlsMaterial, String> {
    let unreadable = |error: std::io::Error| format!("the credentials cannot be read: {error}");
    let header = || {
        let mut header = [0; HEADER_BYTES];
        memory.read_exact_at(&mut header, 0).map_err(unreadable).map(|()| header)
    };
    let mut found = header()?;
    for _ in 0..READS {
        let again = header()?;
        if found == again {
            break;
        }
        found = again;
    }
    let place = credentials::place(&found).ok_or("the credentials have no header")?;
    let mut text = vec![0; place.len()];
    memory.read_exact_at(&mut text, place.start as u64).map_err(unreadable)?;
    let read: Credentials =
        serde_json::from_slice(&text).map_err(|error| format!("the credentials are garbled: {error}"))?;
    let certificates = read.certificates.into_iter().map(|it| ServerCertificate {
        names: it.names,
        chain_pem: it.chain_pem,
        key_pem: it.key_pem,
    });
    Ok(TlsMaterial {
        certificates: certificates.collect(),
        client_authorities_pem: read.client_authorities_pem,
        ticket_keys: read.ticket_keys,
    })
}

fn rules(settings: &TlsSettings) -> TlsRules {
    TlsRules {
        minimum_version: match settings.minimum_version {
            settings::TlsVersion::Tls12 => TlsVersion::Tls12,
            settings::TlsVersion::Tls13 => TlsVersion::Tls13,
        },
        cipher_suites: settings.cipher_suites.clone(),
        client_certificates: match settings.client_certificates {
            settings::ClientCertificates::None => ClientCertificates::None,
            settings::ClientCertificates::Optional => ClientCertificates::Optional,
            settings::ClientCertificates::Required => ClientCertificates::Required,
        },
        handshake_timeout: Duration::from_millis(settings.handshake_timeout_ms),
    }
}
