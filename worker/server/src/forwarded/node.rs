//! One hop of a request as proxies write it: an address, perhaps with a port. Whatever else stands there names nobody.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// A member of `X-Forwarded-For`: `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`. Without a port it
/// is 0, as in uvicorn.
pub(super) fn of_list(text: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text).ok()?;
    match text.parse::<IpAddr>() {
        Ok(address) => Some(at(address, 0)),
        Err(_no_bare_address) => with_port(text),
    }
}

/// The `for` of RFC 7239 §6: as above, but an IPv6 address is always in brackets. `unknown` and `_hidden` name nobody.
pub(super) fn of_rfc_7239(text: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text).ok()?;
    match text.parse::<std::net::Ipv4Addr>() {
        Ok(address) => Some(at(address.into(), 0)),
        Err(_no_bare_address) => with_port(text),
    }
}

fn with_port(text: &str) -> Option<SocketAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        return Some(at(address.into(), port_of_node(rest)?));
    }
    let (address, _) = text.split_once(':')?;
    let parsed: std::net::Ipv4Addr = address.parse().ok()?;
    Some(at(parsed.into(), port_of_node(&text[address.len()..])?))
}

/// `:80`; nothing, and a port that hides itself (`:_secret`), are 0.
fn port_of_node(text: &str) -> Option<u16> {
    if text.is_empty() {
        return Some(0);
    }
    let text = text.strip_prefix(':')?;
    if text.starts_with('_') { Some(0) } else { port(text.as_bytes()) }
}

/// A decimal port.
pub(super) fn port(digits: &[u8]) -> Option<u16> {
    crate::http1::head::decimal(digits).and_then(|port| u16::try_from(port).ok())
}

/// As applications expect it: an IPv4 client behind a dual-stack proxy is written `::ffff:a.b.c.d`.
fn at(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address.to_canonical(), port)
}
