//! The `Forwarded` field (RFC 7239 §4): elements between commas, `name=value` pairs between semicolons, values as tokens or in quotes.

use std::borrow::Cow;

use crate::http1::{chunked::is_value_byte, head::is_token_byte};

/// What one proxy told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Element<'h> {
    /// `for`
    pub(super) node: Option<Cow<'h, [u8]>>,
    pub(super) proto: Option<Cow<'h, [u8]>>,
    pub(super) host: Option<Cow<'h, [u8]>>,
}

/// The elements of all the fields of a head, in their order. None when one field is malformed: a quote that a client left open
/// swallows what its proxy appended, so nothing in such a head can be told apart.
pub(super) fn elements<'h>(fields: impl Iterator<Item = &'h [u8]>) -> Option<Vec<Element<'h>>> {
    let mut elements = Vec::new();
    for mut rest in fields {
        loop {
            let (element, after) = element(rest)?;
            // Empty members of a list do not count.
            if element != Element::default() || !starts_list_end(rest) {
                elements.push(element);
            }
            match after.split_first() {
                None => break,
                Some((b',', after)) => rest = after,
                Some(_) => return None,
            }
        }
    }
    Some(elements)
}

fn starts_list_end(text: &[u8]) -> bool {
    matches!(skip_space(text).first(), None | Some(b','))
}

/// One element, and what follows it: nothing, or a comma.
fn element(text: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let mut element = Element::default();
    let mut rest = skip_space(text);
    loop {
        if !matches!(rest.first(), None | Some(b',' | b';')) {
            let (Pair { name, value }, after) = pair(rest)?;
            let place = if name.eq_ignore_ascii_case(b"for") {
                Some(&mut element.node)
            } else if name.eq_ignore_ascii_case(b"proto") {
                Some(&mut element.proto)
            } else if name.eq_ignore_ascii_case(b"host") {
                Some(&mut element.host)
            } else {
                None
            };
            // A name may stand in an element once only.
            if let Some(place) = place
                && place.replace(value).is_some()
            {
                return None;
            }
            rest = skip_space(after);
        }
        match rest.split_first() {
            Some((b';', after)) => rest = skip_space(after),
            _end => return Some((element, rest)),
        }
    }
}

struct Pair<'h> {
    name: &'h [u8],
    value: Cow<'h, [u8]>,
}

/// `name=value`, and what follows.
fn pair(text: &[u8]) -> Option<(Pair<'_>, &[u8])> {
    let (name, rest) = token(text)?;
    let rest = rest.strip_prefix(b"=")?;
    if let Some(quoted) = rest.strip_prefix(b"\"") {
        let (value, rest) = quoted_string(quoted)?;
        return Some((Pair { name, value }, rest));
    }
    let (value, rest) = token(rest)?;
    Some((Pair { name, value: Cow::Borrowed(value) }, rest))
}

fn token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = text.iter().take_while(|&&byte| is_token_byte(byte)).count();
    (length > 0).then(|| text.split_at(length))
}

/// The rest of a quoted string (RFC 9110 §5.6.4) after its first quote.
fn quoted_string(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let plain = text.iter().take_while(|&&byte| is_value_byte(byte) && !matches!(byte, b'"' | b'\\')).count();
    if text.get(plain) == Some(&b'"') {
        return Some((Cow::Borrowed(&text[..plain]), &text[plain + 1..]));
    }
    let mut value = Vec::new();
    let mut bytes = text.iter().enumerate();
    while let Some((place, &byte)) = bytes.next() {
        match byte {
            b'"' => return Some((Cow::Owned(value), &text[place + 1..])),
            b'\\' => value.push(*bytes.next().filter(|(_, byte)| is_value_byte(**byte))?.1),
            byte if is_value_byte(byte) => value.push(byte),
            _control_character => return None,
        }
    }
    None
}

fn skip_space(text: &[u8]) -> &[u8] {
    text.trim_ascii_start()
}
