//! What is believed of a proxy's fields, field by field and list by list.

use std::rc::Rc;

use super::{
    ForwardedField as Field, ForwarderField, Forwarding, SecureSchemeField, TrustedPeer, TrustedPeers,
};
use crate::{BodyLength, ConnectionInfo, Header, Offers, Peer, PrefixPlace, RequestHead, Scheme, Version};

const X_FORWARDED: [Field; 5] = [Field::For, Field::Proto, Field::Host, Field::Port, Field::Prefix];

fn network(text: &str, prefix_bits: u8) -> TrustedPeer {
    TrustedPeer::Network { address: text.parse().expect("an address"), prefix_bits }
}

fn of_fields(fields: &[Field]) -> Forwarding {
    let from = TrustedPeers::default();
    Forwarding { fields: fields.to_vec(), secure_scheme: Vec::new(), forwarder: Vec::new(), from }
}

/// What the application sees: client, scheme, Host and prefix in one line.
fn seen(
    fields: &[Field],
    from: impl IntoIterator<Item = TrustedPeer>,
    peer: &str,
    headers: &[(&str, &str)],
) -> String {
    let peer = match peer {
        "unix" => Peer::Unix(None),
        address => Peer::Tcp(address.parse().expect("an address and a port")),
    };
    let forwarding = Forwarding { from: from.into_iter().collect(), ..of_fields(fields) };
    with_head(&forwarding, peer, "/", headers, |head| {
        assert_eq!(head.headers.len(), headers.len() + 1, "every field is passed on");
        let client = match head.client {
            Peer::Tcp(address) => address.to_string(),
            Peer::Unix(_) => "unix".to_owned(),
        };
        let scheme = if head.scheme == Scheme::Https { "https" } else { "http" };
        format!("{client} {scheme} {} {}", head.headers[0].value.escape_ascii(), head.prefix.escape_ascii())
    })
}

/// What becomes of a head with a Host field and these others.
fn with_head<R>(
    forwarding: &Forwarding,
    peer: Peer,
    path: &str,
    headers: &[(&str, &str)],
    seen: impl FnOnce(&RequestHead<'_>) -> R,
) -> R {
    let connection =
        Rc::new(ConnectionInfo { peer, local: Peer::Unix(None), scheme: Scheme::Http, tls: None });
    let host = Header { name: b"host", value: b"inside:8000" };
    let headers: Vec<Header<'_>> = std::iter::once(host)
        .chain(headers.iter().map(|(name, value)| Header { name: name.as_bytes(), value: value.as_bytes() }))
        .collect();
    let head = RequestHead {
        method: b"GET",
        path: path.as_bytes(),
        query: b"",
        version: Version::Http11,
        headers: &headers,
        body: BodyLength::None,
        offers: Offers::default(),
        client: &connection.peer,
        scheme: connection.scheme,
        prefix: b"",
        prefix_place: PrefixPlace::TakenOff,
        connection: &connection,
    };
    forwarding.apply(&head, seen)
}

/// The client alone, as a proxy on loopback with 10.0.0.0/8 trusted tells it by `X-Forwarded-For`.
fn client(list: &str) -> String {
    let trusted = [network("127.0.0.1", 32), network("10.0.0.0", 8)];
    let seen = seen(&X_FORWARDED, trusted, "127.0.0.1:9", &[("x-forwarded-for", list)]);
    seen.split(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn the_client_is_the_first_hop_from_the_right_that_is_no_proxy() {
    for (list, expected) in [
        ("1.2.3.4", "1.2.3.4:0"),
        ("6.6.6.6, 1.2.3.4", "1.2.3.4:0"),
        ("6.6.6.6,1.2.3.4 , 10.1.1.1,10.2.2.2", "1.2.3.4:0"),
        ("1.2.3.4:5678", "1.2.3.4:5678"),
        ("2001:db8::1", "[2001:db8::1]:0"),
        ("[2001:db8::1]:443", "[2001:db8::1]:443"),
        ("[2001:db8::1]", "[2001:db8::1]:0"),
        ("::ffff:1.2.3.4", "1.2.3.4:0"),
        // Proxies only: the farthest.
        ("10.9.9.9, 10.1.1.1", "10.9.9.9:0"),
        (",, 1.2.3.4 ,", "1.2.3.4:0"),
    ] {
        assert_eq!(client(list), expected, "{list}");
    }
}

#[test]
fn what_names_nobody_is_never_believed() {
    for list in [
        "",
        " ",
        ",",
        "unknown",
        "_hidden",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.4:99999",
        "1.2.3.4:+1",
        "[::1",
        "a",
        "\u{e9}",
    ] {
        assert_eq!(client(list), "127.0.0.1:9", "{list}");
    }
    // Beyond such a hop nobody is believed; the nearest proxy stands in for the client.
    assert_eq!(client("6.6.6.6, garbage, 10.1.1.1"), "10.1.1.1:0");
}

#[test]
fn several_fields_are_one_list() {
    let headers = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "1.2.3.4, 10.1.1.1")];
    let trusted = [network("127.0.0.1", 32), network("10.0.0.0", 8)];
    assert_eq!(seen(&[Field::For], trusted, "127.0.0.1:9", &headers), "1.2.3.4:0 http inside:8000 ");
}

#[test]
fn nobody_else_is_believed() {
    let all = [
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "outside"),
        ("x-forwarded-port", "444"),
        ("x-forwarded-prefix", "/app"),
        ("forwarded", "for=1.2.3.4;proto=https;host=outside"),
    ];
    let fields = [&X_FORWARDED[..], &[Field::Rfc7239]].concat();
    let direct = |peer: &str| format!("{peer} http inside:8000 ");
    for peer in ["10.0.0.1:5", "127.0.0.2:5", "[::2]:5", "unix"] {
        let trusted = [network("127.0.0.1", 32), network("::1", 128)];
        assert_eq!(seen(&fields, trusted, peer, &all), direct(peer), "{peer}");
    }
    assert_eq!(seen(&[], [TrustedPeer::Everyone], "unix", &all), direct("unix"), "no field is believed");
    assert_eq!(seen(&fields, [], "127.0.0.1:5", &all), direct("127.0.0.1:5"), "nobody is");
}

#[test]
fn peers_are_trusted_by_network_or_kind() {
    let told = "1.2.3.4:0 http inside:8000 ";
    let headers = [("x-forwarded-for", "1.2.3.4")];
    for (trusted, peer) in [
        (network("10.0.0.0", 8), "10.255.0.1:5"),
        (network("10.1.2.3", 32), "10.1.2.3:5"),
        (network("2001:db8::", 32), "[2001:db8:1::1]:5"),
        (network("0.0.0.0", 0), "9.9.9.9:5"),
        (TrustedPeer::Unix, "unix"),
        (TrustedPeer::Everyone, "unix"),
    ] {
        assert_eq!(seen(&[Field::For], [trusted], peer, &headers), told, "{trusted:?} {peer}");
    }
    for (trusted, peer) in [
        (network("10.0.0.0", 8), "11.0.0.1:5"),
        (network("10.1.2.3", 32), "10.1.2.2:5"),
        (network("0.0.0.0", 0), "[::1]:5"),
        (TrustedPeer::Unix, "127.0.0.1:5"),
    ] {
        assert_ne!(seen(&[Field::For], [trusted], peer, &headers), told, "{trusted:?} {peer}");
    }
    let leftmost = [("x-forwarded-for", "1.2.3.4, 5.6.7.8")];
    assert_eq!(seen(&[Field::For], [TrustedPeer::Everyone], "9.9.9.9:5", &leftmost), told);
}

#[test]
fn scheme_host_port_and_prefix_are_told_each_for_itself() {
    let told = |headers: &[(&str, &str)]| seen(&X_FORWARDED, [TrustedPeer::Unix], "unix", headers);
    for (headers, expected) in [
        (&[("x-forwarded-proto", "https")][..], "unix https inside:8000 "),
        (&[("x-forwarded-proto", "HTTPS")], "unix https inside:8000 "),
        (&[("x-forwarded-proto", "wss")], "unix https inside:8000 "),
        (&[("x-forwarded-proto", "gopher")], "unix http inside:8000 "),
        (&[("x-forwarded-host", "outside:444")], "unix http outside:444 "),
        (&[("x-forwarded-host", "a/b")], "unix http inside:8000 "),
        (&[("x-forwarded-port", "444")], "unix http inside:444 "),
        (&[("x-forwarded-port", "80")], "unix http inside "),
        (&[("x-forwarded-port", "443"), ("x-forwarded-proto", "https")], "unix https inside "),
        (&[("x-forwarded-port", "x")], "unix http inside:8000 "),
        (&[("x-forwarded-port", "0")], "unix http inside:8000 "),
        (&[("x-forwarded-host", "[::1]:5"), ("x-forwarded-port", "7")], "unix http [::1]:7 "),
        (&[("x-forwarded-host", "[::1]"), ("x-forwarded-port", "7")], "unix http [::1]:7 "),
        (&[("x-forwarded-prefix", "/app/")], "unix http inside:8000 /app"),
        (&[("x-forwarded-prefix", "//evil")], "unix http inside:8000 "),
        (&[("x-forwarded-prefix", "app")], "unix http inside:8000 "),
        (&[("x-forwarded-prefix", "/a b")], "unix http inside:8000 "),
    ] {
        assert_eq!(told(headers), expected, "{headers:?}");
    }
}

#[test]
fn a_list_counts_by_the_proxy_that_spoke_to_the_client() {
    let trusted = || [TrustedPeer::Unix, network("10.0.0.0", 8)];
    let told = |headers: &[(&str, &str)]| seen(&X_FORWARDED, trusted(), "unix", headers);
    let hops = ("x-forwarded-for", "6.6.6.6, 1.2.3.4, 10.0.0.1");
    assert_eq!(told(&[hops, ("x-forwarded-proto", "http, https, http")]), "1.2.3.4:0 https inside:8000 ");
    assert_eq!(told(&[hops, ("x-forwarded-proto", "https")]), "1.2.3.4:0 https inside:8000 ");
    assert_eq!(told(&[("x-forwarded-proto", "https, http")]), "unix http inside:8000 ");
}

#[test]
fn the_field_of_rfc_7239_is_read_by_the_letter() {
    let trusted = || [TrustedPeer::Unix, network("10.0.0.0", 8)];
    let told = |value: &str| seen(&[Field::Rfc7239], trusted(), "unix", &[("forwarded", value)]);
    for (value, expected) in [
        ("for=1.2.3.4", "1.2.3.4:0 http inside:8000 "),
        ("For=\"[2001:db8::1]:4711\"", "[2001:db8::1]:4711 http inside:8000 "),
        ("for=1.2.3.4;proto=https;by=10.0.0.1;host=outside", "1.2.3.4:0 https outside "),
        ("for=\"1.2.3.4:99\" ; PROTO=https", "1.2.3.4:99 https inside:8000 "),
        ("for=\"\\1.2.3.\\4\"", "1.2.3.4:0 http inside:8000 "),
        ("for=\"1.2.3.4:_secret\"", "1.2.3.4:0 http inside:8000 "),
        (
            "for=6.6.6.6;proto=http, for=1.2.3.4;proto=https,for=10.0.0.9;proto=http",
            "1.2.3.4:0 https inside:8000 ",
        ),
        ("for=1.2.3.4;secret=\"a, b; c=d\"", "1.2.3.4:0 http inside:8000 "),
        (", for=1.2.3.4, ,", "1.2.3.4:0 http inside:8000 "),
        // The nearest proxy hides who it served: nobody is believed beyond it.
        ("for=6.6.6.6, for=unknown;proto=https", "unix https inside:8000 "),
        ("for=_hidden", "unix http inside:8000 "),
    ] {
        assert_eq!(told(value), expected, "{value}");
    }
    for malformed in [
        "for=\"1.2.3.4",
        "for=\", for=1.2.3.4",
        "for=1.2.3.4 proto=https",
        "for",
        "=1.2.3.4",
        "for=",
        "for=1.2.3.4;for=5.6.7.8",
        "for=[::1]",
        "for=a\u{e9}",
    ] {
        assert_eq!(told(malformed), "unix http inside:8000 ", "{malformed}");
    }
}

#[test]
fn a_field_that_was_not_named_is_not_read() {
    let both = [("x-forwarded-for", "1.2.3.4"), ("forwarded", "for=5.6.7.8")];
    let told = |field: Field| seen(&[field], [TrustedPeer::Unix], "unix", &both);
    assert_eq!(told(Field::For), "1.2.3.4:0 http inside:8000 ");
    assert_eq!(told(Field::Rfc7239), "5.6.7.8:0 http inside:8000 ");
    assert_eq!(told(Field::Proto), "unix http inside:8000 ");
}

#[test]
fn names_are_recognised_whatever_their_case() {
    for (name, field) in [
        ("X-Forwarded-For", Field::For),
        ("x-forwarded-proto", Field::Proto),
        ("x-forwarded-HOST", Field::Host),
        ("X-Forwarded-Port", Field::Port),
        ("x-forwarded-prefix", Field::Prefix),
        ("FORWARDED", Field::Rfc7239),
    ] {
        assert_eq!(Field::named(name.as_bytes()), Some(field), "{name}");
    }
    for name in
        ["", "x-forwarded-by", "x-forwarded-four", "accept-language", "transfer-encoding", "forwarde_"]
    {
        assert_eq!(Field::named(name.as_bytes()), None, "{name}");
    }
}

#[test]
fn fields_that_the_operator_named_tell_the_scheme_alone() {
    let named = [("x-forwarded-proto", "https"), ("x-forwarded-ssl", "on")];
    let secure_scheme =
        named.map(|(name, value)| SecureSchemeField { name: name.into(), value: value.into() });
    let forwarding = Forwarding {
        secure_scheme: secure_scheme.to_vec(),
        from: std::iter::once(TrustedPeer::Unix).collect(),
        ..of_fields(&[Field::Proto])
    };
    let scheme =
        |peer: Peer, headers: &[(&str, &str)]| with_head(&forwarding, peer, "/", headers, |head| head.scheme);
    for (headers, expected) in [
        (&[("x-forwarded-ssl", "on")][..], Scheme::Https),
        (&[("x-forwarded-proto", "https")], Scheme::Https),
        (&[("x-forwarded-proto", "https"), ("x-forwarded-ssl", "on")], Scheme::Https),
        (&[], Scheme::Http),
        (&[("x-forwarded-ssl", "ON")], Scheme::Http),
        (&[("x-forwarded-proto", "http")], Scheme::Http),
        // They contradict each other: none is believed.
        (&[("x-forwarded-proto", "http"), ("x-forwarded-ssl", "on")], Scheme::Http),
        (&[("x-forwarded-ssl", "on"), ("x-forwarded-ssl", "off")], Scheme::Http),
        // Not to the letter: the list of the field alone would be read.
        (&[("x-forwarded-proto", "https, http")], Scheme::Http),
    ] {
        assert_eq!(scheme(Peer::Unix(None), headers), expected, "{headers:?}");
    }
    let stranger = Peer::Tcp("10.0.0.1:5".parse().expect("an address"));
    assert_eq!(scheme(stranger, &[("x-forwarded-ssl", "on")]), Scheme::Http);
}

/// Path below the prefix, and the prefix.
fn mounted(forwarding: &Forwarding, peer: Peer, path: &str, headers: &[(&str, &str)]) -> (String, String) {
    with_head(forwarding, peer, path, headers, |head| {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        assert_eq!(head.path, path.as_bytes(), "the path stays as it was received");
        (text(&head.path[head.prefix_in_path()..]), text(head.prefix))
    })
}

#[test]
fn a_script_name_says_where_the_application_is() {
    let forwarder = vec![ForwarderField::named(b"SCRIPT_NAME")];
    let from = || std::iter::once(TrustedPeer::Unix).collect();
    let by_gunicorns_name = Forwarding { forwarder, from: from(), ..of_fields(&[]) };
    let by_x_script_name = Forwarding { from: from(), ..of_fields(&[Field::ScriptName]) };
    let unix = || Peer::Unix(None);
    for (value, path, strict, lenient) in [
        ("/app", "/app/a", ("/a", "/app"), ("/a", "/app")),
        ("/app/", "/app/a", ("/a", "/app"), ("/a", "/app")),
        ("/app", "/app", ("", "/app"), ("", "/app")),
        // gunicorn's field wants the path whole; the other one is set by proxies of both kinds.
        ("/app", "/a", ("/a", ""), ("/a", "/app")),
        ("/app", "/application", ("/application", ""), ("/application", "/app")),
        ("app", "/app/a", ("/app/a", ""), ("/app/a", "")),
        ("//app", "//app/a", ("//app/a", ""), ("//app/a", "")),
        ("/a?b", "/a?b/c", ("/a?b/c", ""), ("/a?b/c", "")),
        ("", "/a", ("/a", ""), ("/a", "")),
    ] {
        let owned = |(path, prefix): (&str, &str)| (path.to_owned(), prefix.to_owned());
        let told = mounted(&by_gunicorns_name, unix(), path, &[("script_name", value)]);
        assert_eq!(told, owned(strict), "SCRIPT_NAME {value} {path}");
        let told = mounted(&by_x_script_name, unix(), path, &[("x-script-name", value)]);
        assert_eq!(told, owned(lenient), "X-Script-Name {value} {path}");
    }
    let direct = ("/app/a".to_owned(), String::new());
    let stranger = || Peer::Tcp("10.0.0.1:5".parse().expect("an address"));
    let headers = [("script_name", "/app"), ("x-script-name", "/app")];
    for forwarding in [&by_gunicorns_name, &by_x_script_name] {
        assert_eq!(mounted(forwarding, stranger(), "/app/a", &headers), direct);
    }
    assert_eq!(mounted(&of_fields(&[]), unix(), "/app/a", &headers), direct, "nobody named them");
    // Somebody wrote another one before the proxy did.
    let twice = [("script_name", "/app"), ("script_name", "/app/a")];
    assert_eq!(mounted(&by_gunicorns_name, unix(), "/app/a", &twice), direct);
}

#[test]
fn a_field_with_an_underscore_is_shown_with_a_dash_and_alone() {
    let forwarding = Forwarding {
        forwarder: vec![ForwarderField::named(b"REMOTE_USER")],
        from: std::iter::once(TrustedPeer::Unix).collect(),
        ..of_fields(&[])
    };
    let shown = |peer: Peer, headers: &[(&str, &str)]| {
        with_head(&forwarding, peer, "/", headers, |head| {
            let fields = head.headers.iter().skip(1);
            let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
            fields.map(|field| (text(field.name), text(field.value))).collect::<Vec<_>>()
        })
    };
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let forged = [("remote-user", "root"), ("remote_user", "alice"), ("other_one", "x")];
    let believed = [("remote-user", "alice"), ("other_one", "x")];
    assert_eq!(shown(Peer::Unix(None), &forged), owned(&believed));
    let plain = [("remote-user", "root"), ("a", "b")];
    assert_eq!(shown(Peer::Unix(None), &plain), owned(&plain), "an ordinary field of an ordinary name");
    let stranger = Peer::Tcp("10.0.0.1:5".parse().expect("an address"));
    assert_eq!(shown(stranger, &forged), owned(&forged), "as it came: no application is fooled by `_`");
}
