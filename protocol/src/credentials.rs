//! Certificates and keys on their way from the supervisor, who read and proved them, to its workers: a memfd that a worker
//! inherits ([`crate::inherited::CREDENTIALS`]) and reads anew after [`crate::ToWorker::ReloadCertificates`]. So no key stands in
//! an environment, a worker needs no right to read the files, and what it uses is what was proven.
//!
//! The memory begins with a header of [`HEADER_BYTES`] bytes: two decimal numbers and a line end, padded with spaces, that say
//! where the current [`Credentials`] are, as JSON. New ones are appended, then the header is written anew: whoever reads the
//! header twice and finds the same has read one that is whole.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Length of the header.
pub const HEADER_BYTES: usize = 48;

/// All that a TLS server must keep to itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// At least one; the first is for clients that ask for no name that is known.
    pub certificates: Vec<Certificate>,
    /// PEM: authorities of the clients' certificates; empty where clients show none.
    pub client_authorities_pem: String,
    /// Secrets of 32 bytes that seal session tickets, so that every worker resumes what another began: the first one seals,
    /// all open.
    pub ticket_keys: Vec<[u8; 32]>,
}

/// A certificate, its key, and when it is shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// DNS names in lower case; the first label may be `*`.
    pub names: Vec<String>,
    /// PEM: the certificate, then those that lead to its authority.
    pub chain_pem: String,
    /// PEM: the private key, not encrypted.
    pub key_pem: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never in a log.
        formatter
            .debug_struct("Credentials")
            .field("certificates", &self.certificates)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Certificate").field("names", &self.names).finish_non_exhaustive()
    }
}

/// The header that names this place.
#[must_use]
pub fn header(place: &Range<usize>) -> [u8; HEADER_BYTES] {
    let mut header = [b' '; HEADER_BYTES];
    let numbers = format!("{} {}", place.start, place.len());
    // Two numbers of 64 bits have at most 40 digits.
    header[..numbers.len()].copy_from_slice(numbers.as_bytes());
    header[HEADER_BYTES - 1] = b'\n';
    header
}

/// The place that a header names; none for what is no header.
#[must_use]
pub fn place(header: &[u8; HEADER_BYTES]) -> Option<Range<usize>> {
    let mut numbers = std::str::from_utf8(header).ok()?.split_ascii_whitespace().map(str::parse::<usize>);
    let (Some(Ok(start)), Some(Ok(length)), None) = (numbers.next(), numbers.next(), numbers.next()) else {
        return None;
    };
    Some(start..start.checked_add(length)?)
}

#[cfg(test)]
mod tests {
    use super::{HEADER_BYTES, header, place};

    #[test]
    fn a_header_names_its_place() {
        for range in [48..148, 0..0, usize::MAX - 1..usize::MAX, 12_345_678..98_765_432] {
            assert_eq!(place(&header(&range)), Some(range));
        }
        assert_eq!(place(&[0; HEADER_BYTES]), None, "memory that nobody has written");
        assert_eq!(place(&[b'9'; HEADER_BYTES]), None);
    }
}
