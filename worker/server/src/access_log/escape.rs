//! Writes what a client sent so that it stays within its place in a line: no byte of it can end the line, the quoted text or the
//! JSON string that it stands in. What is too long for the line is cut and says so.

use super::Notation;

/// Marks a value that was cut.
const CUT: &[u8] = b"...";
/// Room that every value has: what is written for a missing one, and for the shortest cut one.
pub(super) const LEAST_BYTES: usize = 8;

/// Appends `value`, at most `limit` bytes of it (at least [`LEAST_BYTES`]).
pub(super) fn append(out: &mut Vec<u8>, value: &[u8], notation: Notation, limit: usize) {
    let start = out.len();
    match notation {
        Notation::Text => append_units(out, text_units(value), start + limit),
        Notation::Json => {
            out.push(b'"');
            append_units(out, json_units(value), start + limit - 1);
            out.push(b'"');
        }
    }
}

/// Appends what stands for a value that is not there.
pub(super) fn append_nothing(out: &mut Vec<u8>, notation: Notation) {
    out.extend_from_slice(match notation {
        Notation::Text => b"-",
        Notation::Json => b"null",
    });
}

/// Appends units that must not be torn, until the buffer would grow beyond `end`.
fn append_units<'a>(out: &mut Vec<u8>, units: impl Iterator<Item = Unit<'a>>, end: usize) {
    // Where the mark of a cut would still fit.
    let mut last_cut = out.len();
    for unit in units {
        if out.len() + CUT.len() <= end {
            last_cut = out.len();
        }
        match unit {
            Unit::Plain(bytes) => out.extend_from_slice(bytes),
            Unit::Hex(byte) => out.extend_from_slice(&hex(*b"\\x00", byte)),
            Unit::JsonHex(byte) => out.extend_from_slice(&hex(*b"\\u0000", byte)),
        }
        if out.len() > end {
            out.truncate(last_cut);
            out.extend_from_slice(CUT);
            return;
        }
    }
}

/// The smallest pieces of an escaped value.
enum Unit<'a> {
    Plain(&'a [u8]),
    Hex(u8),
    JsonHex(u8),
}

/// Visible ASCII and spaces stay; quotes, backslashes and everything else become `\xHH`.
fn text_units(value: &[u8]) -> impl Iterator<Item = Unit<'_>> {
    value.iter().map(|byte| match byte {
        b'"' | b'\\' => Unit::Hex(*byte),
        b' '..=b'~' => Unit::Plain(std::slice::from_ref(byte)),
        _ => Unit::Hex(*byte),
    })
}

/// A JSON string (RFC 8259 §7). Text in UTF-8 stays; control characters, those of Unicode's first supplement included, become
/// `\u00HH`; so do bytes that are no UTF-8, as if they were latin-1.
fn json_units(value: &[u8]) -> impl Iterator<Item = Unit<'_>> {
    let chunks = value.utf8_chunks();
    chunks.flat_map(|chunk| {
        let valid = chunk.valid();
        let text = valid.char_indices().map(move |(at, character)| {
            let bytes = &valid.as_bytes()[at..at + character.len_utf8()];
            match character {
                '"' => Unit::Plain(b"\\\""),
                '\\' => Unit::Plain(b"\\\\"),
                // Line ends of JavaScript.
                '\u{2028}' => Unit::Plain(b"\\u2028"),
                '\u{2029}' => Unit::Plain(b"\\u2029"),
                '\0'..='\u{1f}' | '\u{7f}' => Unit::JsonHex(bytes[0]),
                // The second byte of U+0080–U+009F is the code point's own.
                '\u{80}'..='\u{9f}' => Unit::JsonHex(bytes[1]),
                _ => Unit::Plain(bytes),
            }
        });
        text.chain(chunk.invalid().iter().map(|byte| Unit::JsonHex(*byte)))
    })
}

/// Puts a byte's two digits at the end of `form`.
fn hex<const N: usize>(mut form: [u8; N], byte: u8) -> [u8; N] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    form[N - 2] = DIGITS[usize::from(byte >> 4)];
    form[N - 1] = DIGITS[usize::from(byte & 0xf)];
    form
}

#[cfg(test)]
mod tests {
    use super::{LEAST_BYTES, Notation, append};

    fn escaped(value: &[u8], notation: Notation, limit: usize) -> String {
        let mut out = b"before ".to_vec();
        append(&mut out, value, notation, limit);
        assert!(out.len() <= "before ".len() + limit, "{} bytes of {limit}", out.len() - "before ".len());
        String::from_utf8(out).expect("text")["before ".len()..].to_owned()
    }

    #[test]
    fn text_keeps_to_visible_ascii() {
        let value = b"a \"b\" \\ \r\n\x1b[31m\x00\x7f caf\xc3\xa9 \xff";
        let expected = r"a \x22b\x22 \x5C \x0D\x0A\x1B[31m\x00\x7F caf\xC3\xA9 \xFF";
        assert_eq!(escaped(value, Notation::Text, 200), expected);
    }

    #[test]
    fn json_strings_are_json_whatever_the_bytes() {
        let value = "a \"b\" \\ \r\n\u{1b} café \u{85}\u{2028}\u{1f600}";
        let expected = r#""a \"b\" \\ \u000D\u000A\u001B café \u0085\u2028😀""#;
        assert_eq!(escaped(value.as_bytes(), Notation::Json, 200), expected);
        assert_eq!(escaped(b"\xff\xc3", Notation::Json, 200), r#""\u00FF\u00C3""#);
    }

    #[test]
    fn what_is_too_long_is_cut_between_units() {
        for limit in LEAST_BYTES..40 {
            for notation in [Notation::Text, Notation::Json] {
                for value in ["x".repeat(100), "\n".repeat(100), "é".repeat(100)] {
                    let cut = escaped(value.as_bytes(), notation, limit);
                    assert!(cut.trim_end_matches('"').ends_with("..."), "{cut}");
                    let escapes = cut.replace(r"\u000A", "").replace(r"\x0A", "");
                    let escapes = escapes.replace(r"\xC3", "").replace(r"\xA9", "");
                    assert!(!escapes.contains('\\'), "{cut} at {limit}");
                }
            }
            let fits = "x".repeat(limit - 2);
            assert_eq!(escaped(fits.as_bytes(), Notation::Json, limit), format!("\"{fits}\""));
        }
    }
}
