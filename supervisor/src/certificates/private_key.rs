//! Private keys: found in PEM text, and opened where they are encrypted. What comes out goes to workers and nowhere else.

use std::path::Path;

use pkcs8::{EncryptedPrivateKeyInfo, LineEnding, SecretDocument};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};

use super::read_text;
use crate::{
    config::settings::tls::Password,
    error::{ExitStatus, Expected, ExpectedError},
};

/// How an encrypted key of today begins (RFC 5958 §3).
const ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const ENCRYPTED_END: &str = "-----END ENCRYPTED PRIVATE KEY-----";
/// The mark of a key that is encrypted in OpenSSL's own old way (RFC 1421 §4.6.1.1): one round of MD5 against a guesser.
const TRADITIONALLY_ENCRYPTED: &str = "Proc-Type: 4,ENCRYPTED";

/// A private key, and its PEM text without encryption.
pub(super) struct PrivateKey {
    pub(super) der: PrivateKeyDer<'static>,
    pub(super) pem: String,
}

/// Reads the key out of a file.
pub(super) fn read(path: &Path, password: &Password) -> Expected<PrivateKey> {
    let text = read_text("the private key", path)?;
    if text.contains(TRADITIONALLY_ENCRYPTED) {
        let message =
            format!("the private key {} is encrypted in a way that protects little", path.display());
        return Err(refusal("tls/key-encryption", message)
            .help(format!("convert it: `openssl pkcs8 -topk8 -in {0} -out {0}.new`", path.display())));
    }
    let pem = match (text.find(ENCRYPTED), text.find(ENCRYPTED_END)) {
        (Some(begin), Some(end)) if begin < end => {
            decrypted(&text[begin..end + ENCRYPTED_END.len()], path, password)?
        }
        (Some(_) | None, Some(_) | None) => text,
    };
    match PrivateKeyDer::from_pem_slice(pem.as_bytes()) {
        Ok(der) => Ok(PrivateKey { der, pem }),
        Err(error) => {
            let message = format!("{} holds no private key in PEM: {error}", path.display());
            Err(refusal("tls/no-key", message)
                .help("name the file with `-----BEGIN PRIVATE KEY-----` in it: --keyfile FILE"))
        }
    }
}

fn decrypted(section: &str, path: &Path, password: &Password) -> Expected<String> {
    let name = path.display();
    let broken = |error: &dyn std::fmt::Display| {
        refusal("tls/key", format!("the private key {name} cannot be decrypted: {error}")).help(format!(
            "encrypt it in the usual way: `openssl pkcs8 -topk8 -v2 aes-256-cbc -in {name} -out {name}.new`"
        ))
    };
    let from_file;
    let password = match password {
        Password::Given(secret) => secret.0.as_str(),
        Password::InFile(file) => {
            from_file = read_text("the password file", file)?;
            from_file.lines().next().unwrap_or_default()
        }
        Password::None => {
            return Err(refusal(
                "tls/no-password",
                format!("the private key {name} is encrypted, and no password is given"),
            )
            .help("--keyfile-password-file FILE, or the environment variable SUPERVISE_KEYFILE_PASSWORD"));
        }
    };
    let (_, document) = SecretDocument::from_pem(section).map_err(|error| broken(&error))?;
    let encrypted = EncryptedPrivateKeyInfo::try_from(document.as_bytes()).map_err(|error| broken(&error))?;
    let key = encrypted.decrypt(password).map_err(|error| match error {
        // A wrong password gives noise, which has no proper end or, once in 256 times, is no key. The crate gives one failure
        // the names of both directions.
        pkcs8::Error::EncryptedPrivateKey(
            pkcs8::pkcs5::Error::DecryptFailed | pkcs8::pkcs5::Error::EncryptFailed,
        )
        | pkcs8::Error::Asn1(_) => {
            refusal("tls/wrong-password", format!("the password does not open the private key {name}"))
                .help("a password file holds the password in its first line, and nothing before or after it")
        }
        other => broken(&other),
    })?;
    let pem = key.to_pem("PRIVATE KEY", LineEnding::LF).map_err(|error| broken(&error))?;
    Ok(pem.to_string())
}

fn refusal(id: &'static str, message: String) -> ExpectedError {
    ExpectedError::new(id, ExitStatus::BadConfig, message)
}
