//! Who the client is when a proxy stands between: what trusted proxies say in header fields, and what the application then sees.
//! Pure. Nothing here fails: what is malformed is not believed.
//!
//! A proxy that does not know a field passes on what the client wrote into it. So only the fields that the operator named are
//! read, each for itself and only from a trusted peer; all others reach the application as ordinary fields.

mod named_by_operator;
mod node;
mod rfc7239;
mod trust;

pub use self::{
    named_by_operator::{ForwarderField, SecureSchemeField},
    trust::{TrustedPeer, TrustedPeers},
};
use crate::{ConnectionInfo, Header, Peer, PrefixPlace, RequestHead, Scheme, http1::target::is_authority};

/// Which header fields of a proxy are believed, and from whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarding {
    /// Empty: none.
    pub fields: Vec<ForwardedField>,
    /// Fields that tell the scheme by a value of their own. Where there are any, they alone tell it; where they disagree, none is believed.
    pub secure_scheme: Vec<SecureSchemeField>,
    /// Fields with `_` in their names that a proxy may set.
    pub forwarder: Vec<ForwarderField>,
    /// The proxies.
    pub from: TrustedPeers,
}

/// A header field by which proxies tell what they saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedField {
    /// `X-Forwarded-For`: the client, and every proxy but the last.
    For,
    /// `X-Forwarded-Proto`: `http` or `https`.
    Proto,
    /// `X-Forwarded-Host`: replaces the Host field.
    Host,
    /// `X-Forwarded-Port`: replaces the port in the Host field.
    Port,
    /// `X-Forwarded-Prefix`: the part of the path that the proxy took off.
    Prefix,
    /// `X-Script-Name`: where the application is mounted, whether the proxy took that off the path or not.
    ScriptName,
    /// `Forwarded` (RFC 7239): `for`, `proto` and `host` in one.
    Rfc7239,
}

impl ForwardedField {
    /// The field with this name, whatever its case. Most names are told apart by their length alone.
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        let (field, spelling): (_, &[u8]) = match name.len() {
            9 => (Self::Rfc7239, b"forwarded"),
            13 => (Self::ScriptName, b"x-script-name"),
            15 => (Self::For, b"x-forwarded-for"),
            16 if name[12].eq_ignore_ascii_case(&b'h') => (Self::Host, b"x-forwarded-host"),
            16 => (Self::Port, b"x-forwarded-port"),
            17 => (Self::Proto, b"x-forwarded-proto"),
            18 => (Self::Prefix, b"x-forwarded-prefix"),
            _ => return None,
        };
        name.eq_ignore_ascii_case(spelling).then_some(field)
    }
}

/// Whether a head has a field that only a proxy should have written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Provenance {
    /// It has none.
    #[default]
    Direct,
    /// It has one; whether that is believed is another matter.
    Forwarded,
}

impl Forwarding {
    /// Calls `call` with the head as the application shall see it: with the client, scheme, Host and prefix that a trusted proxy
    /// told, or as it came.
    pub(crate) fn apply<R>(&self, head: &RequestHead<'_>, call: impl FnOnce(&RequestHead<'_>) -> R) -> R {
        let Some(origin) = self.origin(head) else { return call(head) };
        let (renamed, with_host);
        let mut headers = head.headers;
        if let Some(shown) = named_by_operator::shown(&self.forwarder, headers) {
            renamed = shown;
            headers = &renamed;
        }
        if let Some(host) = &origin.host {
            with_host = self::with_host(headers, host);
            headers = &with_host;
        }
        let client = origin.client.as_ref().unwrap_or(head.client);
        let (prefix, prefix_place) = origin.prefix;
        call(&RequestHead { client, scheme: origin.scheme, prefix, prefix_place, headers, ..*head })
    }

    /// Whether a head may have fields that are believed though [`Provenance`] does not tell of them: their names are not known when
    /// heads are read, or would cost every request a look.
    pub(crate) fn reads_rare_fields(&self) -> bool {
        !self.secure_scheme.is_empty()
            || !self.forwarder.is_empty()
            || self.fields.contains(&ForwardedField::ScriptName)
    }

    /// What trusted proxies told. None when there is nothing that may be believed.
    fn origin<'h>(&self, head: &RequestHead<'h>) -> Option<Origin<'h>> {
        let (connection, headers) = (&**head.connection, head.headers);
        let reads_nothing = self.fields.is_empty() && !self.reads_rare_fields();
        if reads_nothing || !self.from.contains(&connection.peer) {
            return None;
        }
        let mut origin = if self.fields.contains(&ForwardedField::Rfc7239) {
            match self.by_rfc_7239(connection, headers) {
                Some(origin) => origin,
                None if self.reads_rare_fields() => Origin::direct(connection),
                None => return None,
            }
        } else {
            self.by_lists(head)
        };
        if let Some(prefix) = named_by_operator::script_name(&self.forwarder, headers, head.path) {
            origin.prefix = prefix;
        }
        Some(origin)
    }

    fn by_lists<'h>(&self, head: &RequestHead<'h>) -> Origin<'h> {
        let (connection, headers) = (&**head.connection, head.headers);
        let (client, depth) = self.client(from_the_right(headers, ForwardedField::For).map(node::of_list));
        let told = |field| {
            let is_believed = self.fields.contains(&field);
            is_believed.then(|| at_depth(from_the_right(headers, field), depth)).flatten()
        };
        let scheme = if self.secure_scheme.is_empty() {
            told(ForwardedField::Proto).and_then(scheme_named)
        } else {
            named_by_operator::scheme(&self.secure_scheme, headers)
        };
        let scheme = scheme.unwrap_or(connection.scheme);
        let taken_off = told(ForwardedField::Prefix).and_then(prefix).map(|it| (it, PrefixPlace::TakenOff));
        let script_name = || {
            let prefix = told(ForwardedField::ScriptName).and_then(prefix)?;
            let is_there = named_by_operator::begins_with(head.path, prefix);
            Some((prefix, if is_there { PrefixPlace::InPath } else { PrefixPlace::TakenOff }))
        };
        Origin {
            client: client.filter(|_| self.fields.contains(&ForwardedField::For)),
            scheme,
            host: host(headers, told(ForwardedField::Host), told(ForwardedField::Port), scheme),
            prefix: taken_off.or_else(script_name).unwrap_or_default(),
        }
    }

    fn by_rfc_7239<'h>(&self, connection: &ConnectionInfo, headers: &[Header<'h>]) -> Option<Origin<'h>> {
        let elements = rfc7239::elements(values(headers, ForwardedField::Rfc7239))?;
        let hops = elements.iter().rev().map(|element| element.node.as_deref().and_then(node::of_rfc_7239));
        let (client, depth) = self.client(hops);
        let element = elements.iter().rev().nth(depth)?;
        let scheme = element.proto.as_deref().and_then(scheme_named).unwrap_or(connection.scheme);
        Some(Origin {
            client,
            scheme,
            host: host(headers, element.host.as_deref(), None, scheme),
            prefix: Default::default(),
        })
    }

    /// The client among the hops, nearest first: the first that is no proxy of ours, or the farthest that is known. Beside it how
    /// many hops lie between.
    fn client(&self, hops: impl Iterator<Item = Option<std::net::SocketAddr>>) -> (Option<Peer>, usize) {
        let mut client = None;
        let mut depth = 0;
        for (number, hop) in hops.enumerate() {
            // Beyond a hop that hides itself, or cannot be read, anybody may have written anything.
            let Some(address) = hop else { break };
            client = Some(Peer::Tcp(address));
            depth = number;
            if !self.from.contains_address(address.ip()) {
                break;
            }
        }
        (client, depth)
    }
}

/// What trusted proxies told of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin<'h> {
    client: Option<Peer>,
    scheme: Scheme,
    host: Option<Vec<u8>>,
    prefix: (&'h [u8], PrefixPlace),
}

impl Origin<'_> {
    /// Nobody told anything.
    fn direct(connection: &ConnectionInfo) -> Self {
        Self { client: None, scheme: connection.scheme, host: None, prefix: Default::default() }
    }
}

/// The values of a field in the order of the wire.
fn values<'h>(
    headers: &[Header<'h>],
    field: ForwardedField,
) -> impl DoubleEndedIterator<Item = &'h [u8]> + Clone {
    headers.iter().filter(move |it| ForwardedField::named(it.name) == Some(field)).map(|it| it.value)
}

/// The members of a list field, last first: what the nearest proxy wrote comes first. Empty members do not count (RFC 9110 §5.6.1).
fn from_the_right<'h>(headers: &[Header<'h>], field: ForwardedField) -> impl Iterator<Item = &'h [u8]> {
    values(headers, field)
        .rev()
        .flat_map(|value| value.rsplit(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// What the proxy that spoke to the client wrote; proxies that overwrite a field leave one member however many they are.
fn at_depth<'h>(members: impl Iterator<Item = &'h [u8]>, depth: usize) -> Option<&'h [u8]> {
    members.take(depth + 1).last()
}

fn scheme_named(name: &[u8]) -> Option<Scheme> {
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    if is(b"https") || is(b"wss") {
        return Some(Scheme::Https);
    }
    (is(b"http") || is(b"ws")).then_some(Scheme::Http)
}

/// The Host field that the proxy saw; None where the one that came stands.
fn host(headers: &[Header<'_>], host: Option<&[u8]>, port: Option<&[u8]>, scheme: Scheme) -> Option<Vec<u8>> {
    let host = host.filter(|host| is_authority(host));
    let port = port.and_then(node::port).filter(|&port| port != 0);
    let Some(port) = port else { return host.map(<[u8]>::to_vec) };
    let came = headers.iter().find(|header| header.name == b"host").map(|header| header.value);
    let mut text = without_port(host.or(came)?).to_vec();
    let usual = match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    if port != usual {
        text.extend_from_slice(format!(":{port}").as_bytes());
    }
    Some(text)
}

/// `name`, `1.2.3.4` and `[v6]` of an authority.
fn without_port(authority: &[u8]) -> &[u8] {
    match memchr::memrchr(b':', authority) {
        Some(colon) if !authority[colon..].contains(&b']') => &authority[..colon],
        Some(_) | None => authority,
    }
}

/// A path that others can stand behind, without its last slash.
fn prefix(text: &[u8]) -> Option<&[u8]> {
    let is_sound = text.first() == Some(&b'/')
        && !text.starts_with(b"//")
        && text.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'\\'));
    is_sound.then(|| text.strip_suffix(b"/").unwrap_or(text))
}

fn with_host<'h>(headers: &[Header<'h>], host: &'h [u8]) -> Vec<Header<'h>> {
    let host = Header { name: b"host", value: host };
    let mut changed = headers.to_vec();
    match changed.iter_mut().find(|header| header.name == host.name) {
        Some(place) => *place = host,
        None => changed.insert(0, host),
    }
    changed
}

#[cfg(test)]
mod tests;
