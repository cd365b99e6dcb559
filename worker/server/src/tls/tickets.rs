//! Session tickets (RFC 5077, RFC 8446 §4.6.1) that every worker can open, because all have the same keys: a client that comes
//! back resumes its session whichever worker accepts it.
//!
//! Each ticket is sealed with a key of its own, derived from a shared key and a random salt, so that many processes can use
//! one key without counting nonces together.

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
    rand::{SecureRandom, SystemRandom},
};
use rustls::server::ProducesTickets;

/// Bytes of a shared key.
pub(super) const KEY_BYTES: usize = 32;
const SALT_BYTES: usize = 32;
/// Clients keep a ticket for so long; a reload may end its life earlier. Half of a day, as most servers do.
const LIFETIME_SECONDS: u32 = 12 * 3600;
/// Separates these keys from any other use of the same secret.
const PURPOSE: &[u8] = b"supervise session ticket";

/// Seals with the first key, opens with any.
pub(super) struct SharedTickets {
    keys: Vec<[u8; KEY_BYTES]>,
    random: SystemRandom,
}

impl std::fmt::Debug for SharedTickets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SharedTickets").field("keys", &self.keys.len()).finish()
    }
}

impl SharedTickets {
    pub(super) fn new(keys: Vec<[u8; KEY_BYTES]>) -> Self {
        Self { keys, random: SystemRandom::new() }
    }
}

impl ProducesTickets for SharedTickets {
    fn enabled(&self) -> bool {
        !self.keys.is_empty()
    }

    fn lifetime(&self) -> u32 {
        LIFETIME_SECONDS
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut salt = [0; SALT_BYTES];
        self.random.fill(&mut salt).ok()?;
        let key = ticket_key(self.keys.first()?, &salt)?;
        let mut sealed = plain.to_vec();
        key.seal_in_place_append_tag(only_nonce(), Aad::empty(), &mut sealed).ok()?;
        Some([&salt[..], &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (salt, sealed) = ticket.split_at_checked(SALT_BYTES)?;
        self.keys.iter().find_map(|shared| {
            let mut opened = sealed.to_vec();
            let length =
                ticket_key(shared, salt)?.open_in_place(only_nonce(), Aad::empty(), &mut opened).ok()?.len();
            opened.truncate(length);
            Some(opened)
        })
    }
}

/// The key of one ticket.
fn ticket_key(shared: &[u8; KEY_BYTES], salt: &[u8]) -> Option<LessSafeKey> {
    let secret = Salt::new(HKDF_SHA256, salt).extract(shared);
    let key: UnboundKey = secret.expand(&[PURPOSE], &AES_256_GCM).ok()?.into();
    Some(LessSafeKey::new(key))
}

/// A key seals one ticket only, so its nonce need not differ from others.
fn only_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use rustls::server::ProducesTickets as _;

    use super::SharedTickets;

    #[test]
    fn whoever_has_the_key_opens_a_ticket() {
        let (one, other) = (SharedTickets::new(vec![[1; 32]]), SharedTickets::new(vec![[2; 32], [1; 32]]));
        let ticket = one.encrypt(b"a session").expect("sealed");
        assert_eq!(one.decrypt(&ticket).as_deref(), Some(&b"a session"[..]));
        assert_eq!(other.decrypt(&ticket).as_deref(), Some(&b"a session"[..]), "an older key still opens");
        assert_eq!(one.decrypt(&other.encrypt(b"x").expect("sealed")), None, "the newest key seals");
        assert_ne!(ticket, one.encrypt(b"a session").expect("sealed"), "each has its own salt");
    }

    #[test]
    fn what_is_no_ticket_is_refused() {
        let tickets = SharedTickets::new(vec![[1; 32]]);
        let mut ticket = tickets.encrypt(b"a session").expect("sealed");
        for length in 0..ticket.len() {
            assert_eq!(tickets.decrypt(&ticket[..length]), None, "cut to {length}");
        }
        for index in 0..ticket.len() {
            ticket[index] ^= 1;
            assert_eq!(tickets.decrypt(&ticket), None, "bit of byte {index}");
            ticket[index] ^= 1;
        }
        assert!(!SharedTickets::new(Vec::new()).enabled());
    }
}
