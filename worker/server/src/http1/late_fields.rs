//! Fields that do not stand in a reply's head: those of an early hint and of a trailer. Knows which must not stand there.

use super::{chunked::is_value_byte, head::is_token_byte, reply::InvalidField};

/// Fields that would change how the message, the connection or the reply as a whole is to be read once that is settled
/// (RFC 9110 §6.5.1; the kinds are those of RFC 7230 §4.1.2). In an early hint they would speak of the wrong message.
const FORBIDDEN: [&[u8]; 24] = [
    b"age",
    b"authorization",
    b"cache-control",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"date",
    b"expires",
    b"host",
    b"keep-alive",
    b"location",
    b"max-forwards",
    b"proxy-authenticate",
    b"proxy-connection",
    b"retry-after",
    b"set-cookie",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"vary",
    b"www-authenticate",
];

/// Appends the fields as lines, their names in lower case.
///
/// # Errors
/// [`InvalidField`] at the first that is malformed or forbidden; what was appended before it stays.
pub(crate) fn write<'f>(
    out: &mut Vec<u8>,
    fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
) -> Result<(), InvalidField> {
    for (name, value) in fields {
        let is_sound = !name.is_empty()
            && name.iter().all(|&byte| is_token_byte(byte))
            && value.iter().all(|&byte| is_value_byte(byte));
        if !is_sound {
            return Err(InvalidField);
        }
        let start = out.len();
        out.extend(name.iter().map(u8::to_ascii_lowercase));
        if FORBIDDEN.binary_search(&&out[start..]).is_ok() {
            return Err(InvalidField);
        }
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_change_a_settled_message_is_refused() {
        assert!(FORBIDDEN.is_sorted(), "it is searched by halves");
        let refused: [(&[u8], &[u8]); 7] = [
            (b"Content-Length", b"5"),
            (b"TRANSFER-ENCODING", b"chunked"),
            (b"set-cookie", b"a=b"),
            (b"trailer", b"x"),
            (b"", b"x"),
            (b"a b", b"x"),
            (b"a", b"x\r\ny: z"),
        ];
        for field in refused {
            let name = field.0.escape_ascii();
            assert_eq!(write(&mut Vec::new(), [field].into_iter()), Err(InvalidField), "{name}");
        }
        let mut out = Vec::new();
        let fields: [(&[u8], &[u8]); 2] = [(b"X-Checksum", b"1"), (b"grpc-status", b"")];
        assert_eq!(write(&mut out, fields.into_iter()), Ok(()));
        assert_eq!(out, b"x-checksum: 1\r\ngrpc-status: \r\n");
    }
}
