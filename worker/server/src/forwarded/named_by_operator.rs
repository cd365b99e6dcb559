//! Fields of a proxy that have no name of their own in any standard: the operator names them. Read only from a trusted peer.

use crate::{Header, PrefixPlace, Scheme};

/// A field whose value says that the client came by https, as `X-Forwarded-Ssl: on`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecureSchemeField {
    /// In lower case.
    pub name: Vec<u8>,
    /// The value that says so, to the letter; any other says that it did not.
    pub value: Vec<u8>,
}

/// A field with `_` in its name that a proxy may set, as `Remote_User`. The application gets it with `-`: fields of others that
/// would look the same to it do not count then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwarderField {
    name: Vec<u8>,
    shown: Vec<u8>,
}

/// The one that says where the application is mounted.
const SCRIPT_NAME: &[u8] = b"script_name";

impl ForwarderField {
    /// The field with this name, whatever its case.
    #[must_use]
    pub fn named(name: &[u8]) -> Self {
        let name = name.to_ascii_lowercase();
        let shown = name.iter().map(|&byte| if byte == b'_' { b'-' } else { byte }).collect();
        Self { name, shown }
    }
}

/// The scheme by these fields; None where none is there, or where they disagree.
pub(super) fn scheme(fields: &[SecureSchemeField], headers: &[Header<'_>]) -> Option<Scheme> {
    let said = headers.iter().filter_map(|header| {
        let field = fields.iter().find(|field| field.name == header.name)?;
        Some(if field.value == header.value { Scheme::Https } else { Scheme::Http })
    });
    only(said)
}

/// The path of `SCRIPT_NAME` in the path of the request, which must still begin with it, as in gunicorn.
pub(super) fn script_name<'h>(
    fields: &[ForwarderField],
    headers: &[Header<'h>],
    path: &[u8],
) -> Option<(&'h [u8], PrefixPlace)> {
    if !fields.iter().any(|field| field.name == SCRIPT_NAME) {
        return None;
    }
    let values = headers.iter().filter(|header| header.name == SCRIPT_NAME).map(|header| header.value);
    let prefix = only(values).and_then(super::prefix)?;
    begins_with(path, prefix).then_some((prefix, PrefixPlace::InPath))
}

/// Whether a path is a prefix, or goes on below it.
pub(super) fn begins_with(path: &[u8], prefix: &[u8]) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
}

/// The list with the names that the application sees; None where it stays as it is.
pub(super) fn shown<'h>(fields: &'h [ForwarderField], headers: &[Header<'h>]) -> Option<Vec<Header<'h>>> {
    let field_of = |header: &Header<'_>| fields.iter().find(|field| field.name == header.name);
    if !headers.iter().any(|header| field_of(header).is_some()) {
        return None;
    }
    let is_set = |shown: &[u8]| {
        headers.iter().any(|header| field_of(header).is_some_and(|field| field.shown == shown))
    };
    let kept = headers.iter().filter_map(|header| match field_of(header) {
        Some(field) => Some(Header { name: &field.shown, value: header.value }),
        None => (!is_set(header.name)).then_some(*header),
    });
    Some(kept.collect())
}

/// The value that all agree on.
fn only<V: PartialEq>(mut values: impl Iterator<Item = V>) -> Option<V> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}
