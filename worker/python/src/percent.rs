//! Percent-encoding of request targets (RFC 3986 §2.1). Pure: bytes in, bytes out.

use std::borrow::Cow;

/// Replaces `%xx`; what is no such escape stays as it is.
pub(crate) fn decoded(path: &[u8]) -> Cow<'_, [u8]> {
    if !path.contains(&b'%') {
        return Cow::Borrowed(path);
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        match escape(rest) {
            Some(value) => {
                decoded.push(value);
                rest = &rest[3..];
            }
            None => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    Cow::Owned(decoded)
}

fn escape(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}
