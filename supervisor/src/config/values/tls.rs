//! The kinds of value that settings of TLS have.

use std::{fmt, marker::PhantomData, str::FromStr};

use protocol::settings::{ClientCertificates, TlsVersion};
use serde::{Deserialize, Deserializer};

use super::{ScalarVisitor, ValueError, refuse};

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl FromStr for Secret {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Ok(Self(text.to_owned()))
    }
}

/// Whether clients show certificates; Python's numbers for it too, as gunicorn and uvicorn take them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientCertificatesChoice(pub ClientCertificates);

impl FromStr for ClientCertificatesChoice {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "none" | "0" => Ok(Self(ClientCertificates::None)),
            "optional" | "1" => Ok(Self(ClientCertificates::Optional)),
            "required" | "2" => Ok(Self(ClientCertificates::Required)),
            _ => refuse(format!("`{text}` is no such choice: write none, optional or required")),
        }
    }
}

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsVersionChoice(pub TlsVersion);

impl FromStr for TlsVersionChoice {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let bare = text.to_ascii_lowercase();
        match bare.trim_start_matches("tls").trim_start_matches('v') {
            "1.2" => Ok(Self(TlsVersion::Tls12)),
            "1.3" => Ok(Self(TlsVersion::Tls13)),
            "1" | "1.0" | "1.1" => {
                refuse(format!("TLS {text} is broken and not spoken (RFC 8996): write 1.2 or 1.3"))
            }
            _ => refuse(format!("`{text}` is no version of TLS: write 1.2 or 1.3")),
        }
    }
}

/// Cipher suites by their IANA numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CipherSuites(pub Vec<u16>);

/// What is spoken: the number, OpenSSL's name, IANA's name. All else that TLS knows is weaker.
const SUITES: [(u16, &str, &str); 9] = [
    (0x1302, "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
    (0x1301, "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
    (0x1303, "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256"),
    (0xc02c, "ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    (0xc02b, "ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    (0xcca9, "ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    (0xc030, "ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    (0xc02f, "ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    (0xcca8, "ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
];

impl FromStr for CipherSuites {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let names = text.split([':', ',', ' ']).filter(|name| !name.is_empty());
        let numbers = names.map(|name| {
            let known = SUITES.iter().find(|(_, openssl, iana)| {
                name.eq_ignore_ascii_case(openssl) || name.eq_ignore_ascii_case(iana)
            });
            known.map(|(number, ..)| *number).ok_or_else(|| {
                let known: Vec<&str> = SUITES.iter().map(|(_, openssl, _)| *openssl).collect();
                ValueError(format!(
                    "`{name}` is no cipher suite that is spoken here; write names out of {}",
                    known.join(":")
                ))
            })
        });
        match numbers.collect::<Result<Vec<u16>, _>>()? {
            none if none.is_empty() => refuse("name at least one cipher suite, or leave the setting away"),
            numbers => Ok(Self(numbers)),
        }
    }
}

/// Whether plain listeners send requests on to https, and to which port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectHttps {
    /// They serve the application.
    No,
    /// To the port of the first listener that speaks TLS.
    ToOwnPort,
    /// To this port, where something in front maps ports.
    ToPort(u16),
}

impl FromStr for RedirectHttps {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match (text, text.parse::<u16>()) {
            ("true", _) => Ok(Self::ToOwnPort),
            ("false", _) => Ok(Self::No),
            (_, Ok(port @ 1..)) => Ok(Self::ToPort(port)),
            (_, Ok(_) | Err(_)) => refuse(format!("`{text}` is neither `true`, `false` nor a port")),
        }
    }
}

macro_rules! read_from_scalars {
    ($($kind:ty),*) => {
        $(impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(ScalarVisitor(PhantomData))
            }
        })*
    };
}

read_from_scalars!(Secret, ClientCertificatesChoice, TlsVersionChoice, CipherSuites, RedirectHttps);

#[cfg(test)]
mod tests {
    use super::{CipherSuites, RedirectHttps, Secret, TlsVersionChoice};

    #[test]
    fn cipher_suites_have_two_names() {
        let both = "ECDHE-RSA-AES128-GCM-SHA256:TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,tls_aes_128_gcm_sha256";
        assert_eq!(both.parse(), Ok(CipherSuites(vec![0xc02f, 0xc030, 0x1301])));
        for bad in ["", "HIGH:!aNULL", "AES128-SHA", ":"] {
            assert!(bad.parse::<CipherSuites>().is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_are_written_in_many_ways() {
        for text in ["1.3", "TLSv1.3", "tls1.3"] {
            assert!(text.parse::<TlsVersionChoice>().is_ok(), "{text}");
        }
        assert!("1.1".parse::<TlsVersionChoice>().expect_err("broken").0.contains("RFC 8996"));
        assert!("3".parse::<TlsVersionChoice>().is_err());
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert!(!format!("{:?}", Secret("hunter2".into())).contains("hunter2"));
        assert_eq!("8443".parse(), Ok(RedirectHttps::ToPort(8443)));
        assert!("0".parse::<RedirectHttps>().is_err());
    }
}
