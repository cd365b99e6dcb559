//! What a worker believes of proxies in front of it, and how a person writes that: the only place that knows these texts, because
//! `supervise` and `worker` read them alike.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

/// What proxies in front may tell, and which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForwardingSettings {
    /// Header fields of a proxy that are believed; none is read that is not named here.
    pub forwarded_headers: Vec<ForwardedHeader>,
    /// Fields that say by a value of their own that the client came by https; where there are any, they alone tell the scheme.
    pub secure_scheme_headers: Vec<SecureSchemeHeader>,
    /// Fields with `_` in their names that a proxy may set.
    pub forwarder_headers: Vec<ForwarderHeader>,
    /// The proxies that are believed.
    pub forwarded_allow_ips: Vec<TrustedPeer>,
    /// Whether connections begin with a PROXY header.
    pub proxy_protocol: ProxyProtocol,
    /// The balancers whose connections do. Those of others do not.
    pub proxy_allow_ips: Vec<TrustedPeer>,
}

/// A header field by which proxies tell what they saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// The client.
    XForwardedFor,
    /// `http` or `https`.
    XForwardedProto,
    /// What the client wrote into Host.
    XForwardedHost,
    /// The port that the client reached.
    XForwardedPort,
    /// The part of the path that the proxy took off.
    XForwardedPrefix,
    /// Where the application is mounted, whether the proxy took that off the path or not.
    XScriptName,
    /// All of it by RFC 7239. Instead of the others, never beside them.
    Forwarded,
}

/// Every one of them.
const FORWARDED_HEADERS: [(&str, ForwardedHeader); 7] = [
    ("x-forwarded-for", ForwardedHeader::XForwardedFor),
    ("x-forwarded-proto", ForwardedHeader::XForwardedProto),
    ("x-forwarded-host", ForwardedHeader::XForwardedHost),
    ("x-forwarded-port", ForwardedHeader::XForwardedPort),
    ("x-forwarded-prefix", ForwardedHeader::XForwardedPrefix),
    ("x-script-name", ForwardedHeader::XScriptName),
    ("forwarded", ForwardedHeader::Forwarded),
];

impl FromStr for ForwardedHeader {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = FORWARDED_HEADERS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        known.map(|(_, header)| *header).ok_or_else(|| {
            let names = FORWARDED_HEADERS.map(|(name, _)| name).join(", ");
            format!("`{text}` is no header field that proxies are believed by: write {names}")
        })
    }
}

/// A field whose value says that the client came by https. As text: `X-Forwarded-Ssl=on`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecureSchemeHeader {
    /// In lower case.
    pub name: String,
    /// To the letter.
    pub value: String,
}

impl FromStr for SecureSchemeHeader {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
            Some((name, value)) if is_field_name(name) && !value.is_empty() && value.is_ascii() => {
                Ok(Self { name: name.to_ascii_lowercase(), value: value.to_owned() })
            }
            Some(_) | None => Err(format!(
                "`{text}` is no header field with the value that stands for https: write `X-Forwarded-Ssl=on`"
            )),
        }
    }
}

impl TryFrom<String> for SecureSchemeHeader {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<SecureSchemeHeader> for String {
    fn from(header: SecureSchemeHeader) -> Self {
        format!("{}={}", header.name, header.value)
    }
}

/// A field with `_` in its name. Others of that kind are never taken for the field with `-`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ForwarderHeader(String);

impl ForwarderHeader {
    /// In lower case.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// By it a proxy tells where the application is mounted, and `SCRIPT_NAME` and `root_path` say so.
const SCRIPT_NAME: &str = "script_name";

impl FromStr for ForwarderHeader {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if is_field_name(text) && text.contains('_') {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        Err(format!(
            "`{text}` is no header field that a proxy must be allowed to set: write names with `_`, as SCRIPT_NAME or \
             REMOTE_USER; those without are passed on anyway"
        ))
    }
}

impl TryFrom<String> for ForwarderHeader {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ForwarderHeader> for String {
    fn from(header: ForwarderHeader) -> Self {
        header.0
    }
}

/// A token (RFC 9110 §5.6.2) of the characters that names of fields are really made of.
fn is_field_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Refuses fields that could contradict each other.
///
/// # Errors
/// A sentence that says which.
pub fn check_forwarding(settings: &ForwardingSettings) -> Result<(), String> {
    let headers = &settings.forwarded_headers;
    let has_forwarded = headers.contains(&ForwardedHeader::Forwarded);
    if has_forwarded && headers.iter().any(|header| *header != ForwardedHeader::Forwarded) {
        return Err(
            "`forwarded` and the `x-forwarded-…` fields cannot be believed together, because they may \
                    contradict each other: name those that your proxy sets"
                .to_owned(),
        );
    }
    if has_forwarded && !settings.secure_scheme_headers.is_empty() {
        return Err(
            "`forwarded` tells the scheme: leave the secure scheme headers out, or name other fields"
                .to_owned(),
        );
    }
    let has = |header| headers.contains(&header);
    let mounts = [
        ("x-forwarded-prefix", has(ForwardedHeader::XForwardedPrefix)),
        ("x-script-name", has(ForwardedHeader::XScriptName)),
        ("SCRIPT_NAME", settings.forwarder_headers.iter().any(|header| header.name() == SCRIPT_NAME)),
    ];
    let named: Vec<&str> =
        mounts.into_iter().filter_map(|(name, is_named)| is_named.then_some(name)).collect();
    match named.as_slice() {
        [first, second, ..] => Err(format!(
            "`{first}` and `{second}` both tell where the application is mounted: name the one that your proxy sets"
        )),
        [] | [_] => Ok(()),
    }
}

/// Whether connections begin with a PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyProtocol {
    /// They do not.
    Off,
    /// With one of version 1, a line of text.
    V1,
    /// With one of version 2, which is binary.
    V2,
    /// With one of either version.
    Auto,
}

impl FromStr for ProxyProtocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" | "false" => Ok(Self::Off),
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            "auto" | "true" => Ok(Self::Auto),
            _ => Err(format!(
                "`{text}` is no version of the PROXY protocol: write off, v1, v2 or auto (either)"
            )),
        }
    }
}

/// Peers whose word counts. As text: `10.0.0.0/8`, `::1`, `unix:` or `*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TrustedPeer {
    /// Everybody.
    Everyone,
    /// Whoever connects to a unix socket.
    Unix,
    /// A network.
    Network {
        /// Its address; bits beyond the prefix are 0.
        address: IpAddr,
        /// How many leading bits of it count.
        prefix_bits: u8,
    },
}

impl FromStr for TrustedPeer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "*" => return Ok(Self::Everyone),
            "unix:" | "unix" => return Ok(Self::Unix),
            _ => {}
        }
        let wrong =
            || format!("`{text}` is no peer: write an address, a network as `10.0.0.0/8`, `unix:` or `*`");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_error| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match bits {
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= width).ok_or_else(wrong)?,
            None => width,
        };
        let network = network_of(address, prefix_bits);
        if network != address {
            return Err(format!("`{text}` is a host within its network: write `{network}/{prefix_bits}`"));
        }
        Ok(Self::Network { address, prefix_bits })
    }
}

/// The address without the bits beyond the prefix.
fn network_of(address: IpAddr, prefix_bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix_bits)).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix_bits)).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

impl fmt::Display for TrustedPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everyone => f.write_str("*"),
            Self::Unix => f.write_str("unix:"),
            Self::Network { address, prefix_bits } => write!(f, "{address}/{prefix_bits}"),
        }
    }
}

impl TryFrom<String> for TrustedPeer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<TrustedPeer> for String {
    fn from(peer: TrustedPeer) -> Self {
        peer.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::super::CommaList;
    use super::{
        ForwardedHeader, ForwarderHeader, ForwardingSettings, SecureSchemeHeader, TrustedPeer,
        check_forwarding,
    };
    use crate::defaults;

    #[test]
    fn peers_are_read_and_written_alike() {
        for (text, written) in [
            ("*", "*"),
            ("unix:", "unix:"),
            ("unix", "unix:"),
            ("127.0.0.1", "127.0.0.1/32"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::1", "::1/128"),
            ("::/0", "::/0"),
            ("2001:db8::/32", "2001:db8::/32"),
        ] {
            let peer: TrustedPeer = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(peer.to_string(), written);
        }
        for text in ["", "localhost", "10.0.0.0/33", "::/129", "10.0.0.1/8", "10.0.0.0/", "1.2.3.4/-1", "**"]
        {
            assert!(text.parse::<TrustedPeer>().is_err(), "{text}");
        }
    }

    #[test]
    fn lists_have_commas() {
        let list: CommaList<TrustedPeer> = "127.0.0.1, ::1 ,unix:,".parse().expect("a list");
        assert_eq!(list.0.len(), 3);
        assert!("127.0.0.1,x".parse::<CommaList<TrustedPeer>>().is_err());
    }

    #[test]
    fn fields_that_may_contradict_each_other_are_refused() {
        use ForwardedHeader as Header;
        let of = |headers: &[Header]| ForwardingSettings {
            forwarded_headers: headers.to_vec(),
            ..defaults::forwarding()
        };
        let check = |headers: &[Header]| check_forwarding(&of(headers));
        assert!(check(&[Header::XForwardedFor, Header::XForwardedHost]).is_ok());
        assert!(check(&[Header::Forwarded]).is_ok());
        assert!(check(&[Header::XForwardedFor, Header::Forwarded]).is_err());
        assert!(check(&[Header::XForwardedPrefix, Header::XScriptName]).is_err());
        assert_eq!("Forwarded".parse(), Ok(Header::Forwarded));
        let ssl = || vec!["X-Forwarded-Ssl=on".parse().expect("a field")];
        let mounted = || vec!["SCRIPT_NAME".parse().expect("a name")];
        let secure = |headers: &[Header]| ForwardingSettings { secure_scheme_headers: ssl(), ..of(headers) };
        let script = |headers: &[Header]| ForwardingSettings { forwarder_headers: mounted(), ..of(headers) };
        assert!(check_forwarding(&secure(&[Header::XForwardedProto])).is_ok());
        assert!(check_forwarding(&secure(&[Header::Forwarded])).is_err());
        assert!(check_forwarding(&script(&[Header::Forwarded])).is_ok());
        assert!(check_forwarding(&script(&[Header::XScriptName])).is_err());
    }

    #[test]
    fn fields_are_named_by_the_operator() {
        let field: SecureSchemeHeader = "X-Forwarded-Ssl = on".parse().expect("a field");
        assert_eq!((field.name.as_str(), field.value.as_str()), ("x-forwarded-ssl", "on"));
        for text in ["", "x", "=on", "x=", "x y=on", "x:on", "x=\u{e9}"] {
            assert!(text.parse::<SecureSchemeHeader>().is_err(), "{text}");
        }
        assert_eq!("REMOTE_USER".parse::<ForwarderHeader>().expect("a name").name(), "remote_user");
        // Without `_` a field needs no leave; a star would let everybody's through.
        for text in ["", "Remote-User", "*", "a b_c"] {
            assert!(text.parse::<ForwarderHeader>().is_err(), "{text}");
        }
    }
}
