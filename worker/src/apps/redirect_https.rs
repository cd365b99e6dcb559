//! What a plain listener beside TLS can do instead of serving: it sends every request on to the same host and path by https.
//! Believes the Host header only as far as it is a host.

use worker_server::{App, Exchange, Last, RequestHead};

/// The application.
#[derive(Debug, Clone, Copy)]
pub struct RedirectToHttps {
    /// Port of the https listener; none for the one that `https:` means by itself.
    port: Option<u16>,
}

/// The port that `https:` means by itself.
const HTTPS_PORT: u16 = 443;

impl RedirectToHttps {
    /// To this port.
    #[must_use]
    pub fn new(port: Option<u16>) -> Self {
        Self { port: port.filter(|&port| port != HTTPS_PORT) }
    }

    /// Where a request is sent; none if it names no host or no path.
    fn location(self, head: &RequestHead<'_>) -> Option<Vec<u8>> {
        let host = head.headers.iter().find(|field| field.name == b"host")?.value;
        let host = without_port(host)?;
        if !head.path.starts_with(b"/") {
            return None;
        }
        let mut location = [b"https://", host].concat();
        if let Some(port) = self.port {
            location.extend_from_slice(format!(":{port}").as_bytes());
        }
        location.extend_from_slice(head.path);
        if !head.query.is_empty() {
            location.push(b'?');
            location.extend_from_slice(head.query);
        }
        Some(location)
    }
}

impl App for RedirectToHttps {
    type Chunk = &'static [u8];

    fn call(&self, head: &RequestHead<'_>, exchange: Exchange<&'static [u8]>) {
        let (status, field, body): (u16, (&[u8], Vec<u8>), &'static [u8]) = match self.location(head) {
            // 301 is what every client of the last thirty years follows; 308 keeps the method and the body (RFC 9110 §15.4.9).
            Some(location) if matches!(head.method, b"GET" | b"HEAD") => (301, (b"location", location), b""),
            Some(location) => (308, (b"location", location), b""),
            None => (400, (b"content-type", b"text/plain".to_vec()), b"This host is served by https only.\n"),
        };
        let (name, value) = &field;
        let length = body.len().to_string();
        let fields = [(*name, value.as_slice()), (b"content-length".as_slice(), length.as_bytes())];
        // A client that has left needs no answer.
        if exchange.head(status, fields.into_iter()).is_ok() {
            let _gone = exchange.body(body, Last::Yes);
        }
    }
}

/// The host of a Host field: a name, an IPv4 address or an IPv6 address in brackets, and nothing that could lead elsewhere.
fn without_port(value: &[u8]) -> Option<&[u8]> {
    let (host, port) = match value.iter().rposition(|&byte| byte == b':') {
        Some(colon) if !value[colon..].contains(&b']') => (&value[..colon], &value[colon + 1..]),
        Some(_) | None => (value, &b""[..]),
    };
    let is_address =
        |inside: &[u8]| inside.iter().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(byte));
    let is_name = |name: &[u8]| name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(byte));
    let is_host = match host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) {
        Some(inside) => is_address(inside) && !inside.is_empty(),
        None => is_name(host) && !host.is_empty(),
    };
    (is_host && port.iter().all(u8::is_ascii_digit)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::without_port;

    #[test]
    fn a_host_is_a_name_or_an_address() {
        let good: [(&[u8], &[u8]); 6] = [
            (b"example.org", b"example.org"),
            (b"example.org:80", b"example.org"),
            (b"127.0.0.1:8000", b"127.0.0.1"),
            (b"[::1]", b"[::1]"),
            (b"[2001:db8::1]:80", b"[2001:db8::1]"),
            (b"a_b.c-d:", b"a_b.c-d"),
        ];
        for (field, host) in good {
            assert_eq!(without_port(field), Some(host), "{}", field.escape_ascii());
        }
        let bad: [&[u8]; 9] =
            [b"", b":80", b"a b", b"a/b", b"a@b", b"a:b", b"[]:80", b"[a/b]", b"evil.example\\@good.example"];
        for field in bad {
            assert_eq!(without_port(field), None, "{}", field.escape_ascii());
        }
    }
}
