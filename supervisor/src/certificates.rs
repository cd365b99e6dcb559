//! The certificates of one generation: read and proven before anything listens, handed to its workers in shared memory, looked at
//! once a second, and renewed when the files hold better ones. A bad file changes nothing: what is in service stays.

mod memory;
mod private_key;
mod proof;

use std::{
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::MetadataExt,
    },
    path::PathBuf,
};

use protocol::{
    credentials::{Certificate, Credentials},
    settings::{ClientCertificates, TlsSettings},
};

pub use proof::CertificateFacts;

use self::{memory::CredentialMemory, proof::Proven};
use crate::{
    config::settings::tls::{Password, TlsFiles},
    error::{ExitStatus, Expected, ExpectedError},
};

/// The key of session tickets is changed after this time, in seconds: a ticket lives no longer than two of them.
const TICKET_KEY_LIFE_S: u64 = 12 * 3600;
/// Operators are told of certificates that end sooner than this: the usual renewal is a month before the end.
const SOON_S: u64 = 14 * 24 * 3600;

/// The certificates of a generation.
#[derive(Debug)]
pub struct Certificates {
    files: TlsFiles,
    client_certificates: ClientCertificates,
    /// What is in service.
    proven: Proven,
    ticket_keys: Vec<[u8; 32]>,
    ticket_key_made_s: u64,
    memory: CredentialMemory,
    /// The files as they were when they were last read.
    read: Vec<Option<FileMark>>,
    /// The files as they were at the last look.
    seen: Vec<Option<FileMark>>,
}

/// What a look at the files brought.
#[derive(Debug)]
pub enum Look {
    /// Nothing new.
    Unchanged,
    /// Other credentials are in service: the workers must be told.
    Renewed,
    /// The files changed for the worse; what was in service stays. Told once.
    Refused(ExpectedError),
}

/// What tells a file from another, or from itself after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileMark {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    length: u64,
}

/// Proves the files and keeps nothing.
///
/// # Errors
/// Exit 66 for a file that is not there, 77 for one that may not be read, 78 for one that cannot be used.
pub fn check(files: &TlsFiles, settings: &TlsSettings) -> Expected<Vec<CertificateFacts>> {
    proof::prove(files, settings.client_certificates, now_s()).map(|proven| proven.facts)
}

impl Certificates {
    /// Reads, proves, and puts in service. Tickets of `before`, the generation that this one replaces, stay good if it would
    /// have let in the same clients by the same certificates.
    ///
    /// # Errors
    /// As [`check`]; 71 when the system has no memory or no descriptor left.
    pub fn open(files: &TlsFiles, settings: &TlsSettings, before: Option<&Self>) -> Expected<Self> {
        // Marked before the read: a change in between is seen at the next look.
        let read = marks(files);
        let proven = proof::prove(files, settings.client_certificates, now_s())?;
        let mut ticket_keys = vec![fresh_key()?];
        let same = before.filter(|before| {
            before.proven == proven && before.client_certificates == settings.client_certificates
        });
        ticket_keys.extend(same.and_then(|before| before.ticket_keys.first().copied()));
        let memory =
            CredentialMemory::new(&credentials(&proven, &ticket_keys)).map_err(|error| no_memory(&error))?;
        Ok(Self {
            files: files.clone(),
            client_certificates: settings.client_certificates,
            proven,
            ticket_keys,
            ticket_key_made_s: now_s(),
            memory,
            seen: read.clone(),
            read,
        })
    }

    /// What the workers inherit.
    #[must_use]
    pub fn memory(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    /// The certificates in service.
    #[must_use]
    pub fn facts(&self) -> &[CertificateFacts] {
        &self.proven.facts
    }

    /// Looks whether the files changed. Those that go on changing are left alone until they rest: a certificate and its key
    /// are rarely written at the same moment.
    pub fn look(&mut self) -> Look {
        let now = marks(&self.files);
        let rests = now == self.seen;
        let changed = rests && now != self.read;
        self.seen = now;
        let ticket_key_is_old = now_s().saturating_sub(self.ticket_key_made_s) >= TICKET_KEY_LIFE_S;
        if changed {
            self.read.clone_from(&self.seen);
            match proof::prove(&self.files, self.client_certificates, now_s()) {
                Ok(proven) if proven == self.proven && !ticket_key_is_old => return Look::Unchanged,
                Ok(proven) if proven == self.proven => {}
                Ok(proven) => {
                    self.proven = proven;
                    // A resumed session shows no certificate and proves none: what began under the old ones must not go on.
                    self.ticket_keys.clear();
                }
                Err(error) => return Look::Refused(error),
            }
        } else if !ticket_key_is_old {
            return Look::Unchanged;
        }
        match self.publish() {
            Ok(()) => Look::Renewed,
            Err(error) => Look::Refused(error),
        }
    }

    /// Hands what is proven to the workers, with a new ticket key.
    fn publish(&mut self) -> Expected<()> {
        self.ticket_keys.insert(0, fresh_key()?);
        self.ticket_keys.truncate(2);
        self.ticket_key_made_s = now_s();
        let credentials = credentials(&self.proven, &self.ticket_keys);
        self.memory.replace(&credentials).map_err(|error| no_memory(&error))
    }
}

/// What an operator should know of certificates that are good, one line each.
#[must_use]
pub fn remarks(facts: &[CertificateFacts]) -> Vec<String> {
    let now_s = now_s();
    let ends_soon = facts.iter().filter(|facts| facts.not_after_s < now_s + SOON_S);
    ends_soon
        .map(|facts| {
            let days = facts.not_after_s.saturating_sub(now_s) / (24 * 3600);
            format!("the certificate {} ends in {days} days, at {}", facts.file.display(), facts.not_after)
        })
        .collect()
}

fn credentials(proven: &Proven, ticket_keys: &[[u8; 32]]) -> Credentials {
    let certificates = proven.pairs.iter().zip(&proven.facts);
    Credentials {
        certificates: certificates
            .map(|(pair, facts)| Certificate {
                names: facts.names.clone(),
                chain_pem: pair.chain_pem.clone(),
                key_pem: pair.key_pem.clone(),
            })
            .collect(),
        client_authorities_pem: proven.client_authorities_pem.clone(),
        ticket_keys: ticket_keys.to_vec(),
    }
}

fn fresh_key() -> Expected<[u8; 32]> {
    let mut key = [0; 32];
    rustls::crypto::ring::default_provider().secure_random.fill(&mut key).map_err(|_no_random| {
        ExpectedError::new("system", ExitStatus::OsError, "the system gives no random numbers")
    })?;
    Ok(key)
}

fn no_memory(error: &io::Error) -> ExpectedError {
    let message = format!("the credentials cannot be handed to workers: {error}");
    ExpectedError::new("system", ExitStatus::OsError, message)
}

/// Seconds since 1970, as certificates count.
fn now_s() -> u64 {
    use nix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::CLOCK_REALTIME).map_or(0, |now| u64::try_from(now.tv_sec()).unwrap_or(0))
}

fn marks(files: &TlsFiles) -> Vec<Option<FileMark>> {
    let mut paths: Vec<&PathBuf> = Vec::new();
    for pair in &files.certificates {
        paths.extend([&pair.certificate, &pair.key]);
    }
    paths.extend(&files.client_authorities);
    if let Password::InFile(file) = &files.password {
        paths.push(file);
    }
    // Links are followed, so that a link to another file is a change.
    paths.into_iter().map(|path| fs::metadata(path).ok().map(|data| mark(&data))).collect()
}

fn mark(data: &fs::Metadata) -> FileMark {
    FileMark {
        device: data.dev(),
        inode: data.ino(),
        modified: (data.mtime(), data.mtime_nsec()),
        length: data.size(),
    }
}

/// Reads a text that somebody else wrote.
fn read_text(what: &str, path: &std::path::Path) -> Expected<String> {
    /// The longest chains have a few hundred kilobytes; a device has no end.
    const MOST_BYTES: u64 = 1024 * 1024;
    let name = format!("{what} {}", path.display());
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            ExpectedError::new("tls/missing", ExitStatus::ConfigMissing, format!("{name} is not there"))
                .help("relative paths begin where supervise was started")
        }
        io::ErrorKind::PermissionDenied => ExpectedError::new(
            "tls/permission",
            ExitStatus::Permission,
            format!("{name} may not be read by this user"),
        )
        .help(format!("let the user of supervise read it, and nobody else: `ls -l {}`", path.display())),
        _ => ExpectedError::new(
            "tls/unreadable",
            ExitStatus::BadConfig,
            format!("{name} cannot be read: {error}"),
        ),
    };
    // Looked at before it is opened: to open a pipe is to wait for its other end.
    let data = fs::metadata(path).map_err(failed)?;
    if !data.is_file() || data.len() > MOST_BYTES {
        let message = format!("{name} is no file with PEM text in it");
        return Err(ExpectedError::new("tls/unreadable", ExitStatus::BadConfig, message));
    }
    let bytes = fs::read(path).map_err(failed)?;
    String::from_utf8(bytes).map_err(|error| {
        let is_der = error.as_bytes().first() == Some(&0x30);
        let refused =
            ExpectedError::new("tls/not-pem", ExitStatus::BadConfig, format!("{name} is no PEM text"));
        if is_der {
            refused.help(format!(
                "it looks like DER: `openssl x509 -inform der -in {0} -out {0}.pem`",
                path.display()
            ))
        } else {
            refused
        }
    })
}
