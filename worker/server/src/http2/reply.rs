//! The fields of a reply in HTTP/2: checked like those of HTTP/1, without the ones that belong to a connection (RFC 9113 §8.2.2).

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::http1::{
    late_fields,
    reply::{FieldUse, InvalidField, ReplyFacts, StatusBody, note_field},
};

/// Adds one field of the app, unless it is one that the engine decides.
pub(crate) fn add_field(
    fields: &mut HeaderMap,
    facts: &mut ReplyFacts,
    body: StatusBody,
    name: &[u8],
    value: &[u8],
) -> Result<(), InvalidField> {
    let name = HeaderName::from_bytes(name).map_err(|_not_a_token| InvalidField)?;
    // A value must not begin or end with white space (RFC 9113 §8.2.1).
    let value = HeaderValue::from_bytes(trim(value)).map_err(|_control_character| InvalidField)?;
    if is_connection_specific(name.as_str().as_bytes()) {
        return Ok(());
    }
    match note_field(facts, body, name.as_str().as_bytes(), value.as_bytes())? {
        FieldUse::Sent => {
            fields.append(name, value);
        }
        FieldUse::Dropped => {}
    }
    Ok(())
}

/// The fields of a trailer or an early hint, under the same rules as in HTTP/1.
pub(crate) fn late_fields<'f>(
    fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
) -> Result<HeaderMap, InvalidField> {
    let mut map = HeaderMap::new();
    let mut line = Vec::new();
    for (name, value) in fields {
        line.clear();
        late_fields::write(&mut line, std::iter::once((name, value)))?;
        let name = HeaderName::from_bytes(name).map_err(|_not_a_token| InvalidField)?;
        let value = HeaderValue::from_bytes(trim(value)).map_err(|_control_character| InvalidField)?;
        map.append(name, value);
    }
    Ok(map)
}

/// Fields that say something about a connection of HTTP/1; `connection` and `transfer-encoding` are dropped by both versions.
fn is_connection_specific(name: &[u8]) -> bool {
    matches!(name, b"keep-alive" | b"proxy-connection" | b"upgrade" | b"te")
}

fn trim(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    &value[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_checked_trimmed_and_filtered() {
        let mut fields = HeaderMap::new();
        let mut facts = ReplyFacts::default();
        let mut add =
            |name: &[u8], value: &[u8]| add_field(&mut fields, &mut facts, StatusBody::Allowed, name, value);
        for (name, value) in [
            (b"X-One".as_slice(), b" \ta\xe9 b ".as_slice()),
            (b"Transfer-Encoding", b"chunked"),
            (b"Connection", b"close"),
            (b"Keep-Alive", b"timeout=5"),
            (b"Proxy-Connection", b"x"),
            (b"Upgrade", b"h2c"),
            (b"TE", b"trailers"),
            (b"Content-Length", b"5"),
            (b"Content-Length", b"5"),
        ] {
            assert_eq!(add(name, value), Ok(()), "{}", name.escape_ascii());
        }
        for (name, value) in [
            (b"".as_slice(), b"x".as_slice()),
            (b"a b", b"x"),
            (b"a", b"x\r\ny: z"),
            (b"Content-Length", b"6"),
        ] {
            assert_eq!(add(name, value), Err(InvalidField), "{}", name.escape_ascii());
        }
        let all: Vec<(&str, &[u8])> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(all, [("x-one", b"a\xe9 b".as_slice()), ("content-length", b"5")]);
        assert_eq!(facts.length, Some(5));
    }
}
