//! Remembers Python objects made of bytes that come again and again: header fields and paths. Direct-mapped and of fixed
//! size, so that no client can make it grow; what is long or secret does not enter.

/// Entries; a power of two. Clients of one service send a few dozen distinct fields.
const ENTRIES: usize = 512;
/// Longest key that is remembered. The longest usual one is Chrome's Accept header.
const KEY_BYTES: usize = 192;

struct Entry<V> {
    hash: u64,
    /// Length of the key's first part.
    split: usize,
    key: Box<[u8]>,
    value: V,
}

/// Values by a key of two parts.
pub(crate) struct ValueCache<V> {
    entries: Vec<Option<Entry<V>>>,
}

impl<V: Clone> ValueCache<V> {
    pub(crate) fn new() -> Self {
        let mut entries = Vec::new();
        entries.resize_with(ENTRIES, || None);
        Self { entries }
    }

    /// The value for this key, made anew by `make` when it is not remembered. None when `make` fails.
    pub(crate) fn get(&mut self, first: &[u8], second: &[u8], make: impl FnOnce() -> Option<V>) -> Option<V> {
        if first.len() + second.len() > KEY_BYTES {
            return make();
        }
        let hash = mix(mix(0, first), second);
        let place = &mut self.entries[usize::try_from(hash % ENTRIES as u64).unwrap_or(0)];
        if let Some(entry) = place
            && entry.hash == hash
            && entry.split == first.len()
            && entry.key[..entry.split] == *first
            && entry.key[entry.split..] == *second
        {
            return Some(entry.value.clone());
        }
        let value = make()?;
        let key = [first, second].concat().into_boxed_slice();
        // What is replaced is made of `bytes` and `str`: its end runs no code that could come back here.
        *place = Some(Entry { hash, split: first.len(), key, value: value.clone() });
        Some(value)
    }
}

/// One multiplication for eight bytes: the table is small, so the hash need not withstand an attacker, who could evict
/// entries anyway.
fn mix(seed: u64, bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let (words, rest) = bytes.as_chunks::<8>();
    let fold = |hash: u64, word: u64| (hash.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    let hash = words.iter().fold(seed, |hash, word| fold(hash, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let hash = fold(fold(hash, u64::from_le_bytes(last)), bytes.len() as u64);
    hash ^ (hash >> 32)
}

/// Header fields whose values are secret or new each time: never remembered.
pub(crate) fn is_private(name: &[u8]) -> bool {
    matches!(
        name,
        b"authorization"
            | b"cookie"
            | b"proxy-authorization"
            | b"x-api-key"
            | b"x-request-id"
            | b"traceparent"
            | b"content-length"
    )
}
