//! The user name in an `Authorization: Basic` field (RFC 7617): base64 of `user:password`, of which no more is decoded than the
//! name.

/// Appends the user name to `out`; false if there is none.
pub(super) fn decode(credentials: &[u8], out: &mut Vec<u8>) -> bool {
    let Some((scheme, encoded)) = credentials.split_at_checked(6) else { return false };
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return false;
    }
    let (mut bits, mut held) = (0_u32, 0_u32);
    for &byte in encoded.trim_ascii() {
        let Some(digit) = digit(byte) else { return false };
        bits = bits << 6 | digit;
        held += 6;
        if held >= 8 {
            held -= 8;
            let decoded = (bits >> held) as u8;
            if decoded == b':' {
                return !out.is_empty();
            }
            out.push(decoded);
        }
        bits &= 0xff;
    }
    // No colon: these are no credentials of this scheme.
    out.clear();
    false
}

fn digit(byte: u8) -> Option<u32> {
    let digit = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(digit.into())
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn the_name_is_found_and_the_password_is_not() {
        for (credentials, user) in [
            ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some("Aladdin")),
            ("basic  YTo=", Some("a")),
            ("Basic YWJjZGVmZw==", None),
            ("Basic Og==", None),
            ("Basic !!", None),
            ("Bearer QWxhZGRpbjpvcGVu", None),
            ("Basic", None),
            ("", None),
        ] {
            let mut out = Vec::new();
            let found = decode(credentials.as_bytes(), &mut out);
            assert_eq!(
                found.then(|| String::from_utf8(out).expect("a name")).as_deref(),
                user,
                "{credentials}"
            );
        }
    }
}
