//! RFC 9113 §8.2 to §8.5: fields, pseudo-header fields, and the requests that they make.

use super::{
    super::frames::*,
    Case,
    Expect::{self, Holds, Reply, Stream},
    case,
};

const MALFORMED: Expect = Stream(&[PROTOCOL_ERROR]);

pub fn all() -> Vec<Case> {
    [names_and_values(), connection_fields(), pseudo_fields(), targets()].into_iter().flatten().collect()
}

/// A GET with one more field, as bytes.
fn with_bytes(name: &[u8], value: &[u8]) -> Vec<u8> {
    let fields = [block(&request("GET", "/")), literal(name, value)].concat();
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields)
}

fn with(name: &str, value: &str) -> Vec<u8> {
    with_bytes(name.as_bytes(), value.as_bytes())
}

fn of(fields: &[(&str, &str)]) -> Vec<u8> {
    headers(1, END_STREAM, fields)
}

fn names_and_values() -> Vec<Case> {
    vec![
        case("9113 §8.2", "a name in upper case", with("X-A", "b"), MALFORMED),
        case("9113 §8.2.1", "a space in a name", with("x a", "b"), MALFORMED),
        case("9113 §8.2.1", "a colon in a name", with("x:a", "b"), MALFORMED),
        case("9113 §8.2.1", "a control character in a name", with("x\x01a", "b"), MALFORMED),
        case("9113 §8.2.1", "DEL in a name", with("x\x7fa", "b"), MALFORMED),
        case("9113 §8.2.1", "a byte beyond ASCII in a name", with_bytes(b"x\xe9", b"b"), MALFORMED),
        case("9113 §8.2.1", "an empty name", with("", "b"), MALFORMED),
        case("9113 §8.2.1", "NUL in a value", with("x-a", "a\0b"), MALFORMED),
        case("9113 §8.2.1", "CR in a value", with("x-a", "a\rb"), MALFORMED),
        case("9113 §8.2.1", "LF in a value", with("x-a", "a\nb"), MALFORMED),
        case("9113 §8.2.1", "a space before a value", with("x-a", " b"), MALFORMED),
        case("9113 §8.2.1", "a space after a value", with("x-a", "b "), MALFORMED),
        case("9113 §8.2.1", "a tab before a value", with("x-a", "\tb"), MALFORMED),
        case("9113 §8.2.1", "a tab after a value", with("x-a", "b\t"), MALFORMED),
        case(
            "9113 §8.2.1",
            "white space within a value",
            with("x-a", "b \tc"),
            Holds(|seen| seen.text.contains("x-a=b \\tc")),
        ),
        case(
            "9113 §8.2.1",
            "bytes beyond ASCII in a value",
            with_bytes(b"x-a", b"\xe9\xff"),
            Holds(|seen| seen.text.contains("x-a=\\xe9\\xff")),
        ),
        case("9113 §8.2.1", "an empty value", with("x-a", ""), Holds(|seen| seen.text.contains("x-a=]"))),
        case(
            "9113 §8.2.3",
            "crumbs of cookies are one field again",
            [frame(
                HEADERS,
                END_STREAM | END_HEADERS,
                1,
                &[
                    block(&request("GET", "/")),
                    literal(b"cookie", b"a=1"),
                    literal(b"x", b"y"),
                    literal(b"cookie", b"b=2"),
                ]
                .concat(),
            )]
            .concat(),
            Holds(|seen| seen.text.contains("[host=example.org;cookie=a=1; b=2;x=y]")),
        ),
    ]
}

fn connection_fields() -> Vec<Case> {
    vec![
        case("9113 §8.2.2", "connection", with("connection", "close"), MALFORMED),
        case("9113 §8.2.2", "keep-alive", with("keep-alive", "timeout=5"), MALFORMED),
        case("9113 §8.2.2", "proxy-connection", with("proxy-connection", "close"), MALFORMED),
        case("9113 §8.2.2", "transfer-encoding", with("transfer-encoding", "chunked"), MALFORMED),
        case("9113 §8.2.2", "upgrade", with("upgrade", "h2c"), MALFORMED),
        case("9113 §8.2.2", "te other than trailers", with("te", "trailers, deflate"), MALFORMED),
        case("9113 §8.2.2", "te: trailers", with("te", "trailers"), Reply(200)),
    ]
}

fn pseudo_fields() -> Vec<Case> {
    let [method, scheme, path, authority] =
        [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "example.org")];
    vec![
        case(
            "9113 §8.3",
            "an unknown one",
            of(&[method, scheme, path, authority, (":test", "x")]),
            MALFORMED,
        ),
        case(
            "9113 §8.3",
            "one of replies",
            of(&[method, scheme, path, authority, (":status", "200")]),
            MALFORMED,
        ),
        case(
            "9113 §8.3",
            "one after a field",
            of(&[method, scheme, ("x-a", "b"), path, authority]),
            MALFORMED,
        ),
        case(
            "9113 §8.3",
            "the authority after a field",
            of(&[method, scheme, path, ("x-a", "b"), authority]),
            MALFORMED,
        ),
        case("9113 §8.3", "two methods", of(&[method, method, scheme, path, authority]), MALFORMED),
        case("9113 §8.3", "two schemes", of(&[method, scheme, scheme, path, authority]), MALFORMED),
        case("9113 §8.3", "two paths", of(&[method, scheme, path, path, authority]), MALFORMED),
        case("9113 §8.3", "two authorities", of(&[method, scheme, path, authority, authority]), MALFORMED),
        case("9113 §8.3.1", "no method", of(&[scheme, path, authority]), MALFORMED),
        case("9113 §8.3.1", "no scheme", of(&[method, path, authority]), MALFORMED),
        case("9113 §8.3.1", "no path", of(&[method, scheme, authority]), MALFORMED),
        case("9113 §8.3.1", "nothing at all", of(&[]), MALFORMED),
        case(
            "9113 §8.3",
            "a method that is no token",
            of(&[(":method", "GE T"), scheme, path, authority]),
            MALFORMED,
        ),
        case("9113 §8.3", "an empty method", of(&[(":method", ""), scheme, path, authority]), MALFORMED),
        case(
            "9113 §8.3",
            "a method of one's own",
            of(&[(":method", "BREW"), scheme, path, authority]),
            Holds(|seen| seen.text.starts_with("BREW / ")),
        ),
        case(
            "9113 §8.3.1",
            "a method in lower case is another",
            of(&[(":method", "get"), scheme, path, authority]),
            Holds(|seen| seen.text.starts_with("get / ")),
        ),
        case(
            "9113 §8.3",
            "their order among themselves is free",
            of(&[authority, path, scheme, method]),
            Reply(200),
        ),
    ]
}

fn targets() -> Vec<Case> {
    let [method, scheme, path, authority] =
        [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "example.org")];
    let options = (":method", "OPTIONS");
    let connect = (":method", "CONNECT");
    vec![
        case("9113 §8.3.1", "an empty path", of(&[method, scheme, (":path", ""), authority]), MALFORMED),
        case(
            "9113 §8.3.1",
            "a path without a slash",
            of(&[method, scheme, (":path", "a"), authority]),
            MALFORMED,
        ),
        case(
            "9113 §8.3.1",
            "the asterisk of another method",
            of(&[method, scheme, (":path", "*"), authority]),
            MALFORMED,
        ),
        case(
            "9113 §8.3.1",
            "OPTIONS *",
            of(&[options, scheme, (":path", "*"), authority]),
            Holds(|seen| seen.text.starts_with("OPTIONS * ")),
        ),
        case(
            "9113 §8.3.1",
            "a whole URL as path",
            of(&[method, scheme, (":path", "http://example.org/"), authority]),
            MALFORMED,
        ),
        case(
            "9113 §8.3.1",
            "a space in a path",
            of(&[method, scheme, (":path", "/a b"), authority]),
            MALFORMED,
        ),
        case(
            "9113 §8.3.1",
            "a control character in a path",
            of(&[method, scheme, (":path", "/a\x01"), authority]),
            MALFORMED,
        ),
        case(
            "9113 §8.3.1",
            "user info in the authority",
            of(&[method, scheme, path, (":authority", "me@example.org")]),
            MALFORMED,
        ),
        case(
            "9113 §8.3.1",
            "an authority that is none",
            of(&[method, scheme, path, (":authority", "a/b")]),
            MALFORMED,
        ),
        case(
            "9113 §8.3.1",
            "Host in the place of the authority",
            of(&[method, scheme, path, ("host", "example.org")]),
            Holds(|seen| seen.text.contains("[host=example.org]")),
        ),
        case(
            "9113 §8.3.1",
            "Host that agrees with the authority",
            of(&[method, scheme, path, authority, ("host", "example.org")]),
            Holds(|seen| seen.text.contains("[host=example.org]")),
        ),
        case(
            "9113 §8.3.1",
            "Host that does not",
            of(&[method, scheme, path, authority, ("host", "other.org")]),
            MALFORMED,
        ),
        case(
            "9113 §8.3.1",
            "two Hosts",
            of(&[method, scheme, path, ("host", "a"), ("host", "a")]),
            MALFORMED,
        ),
        case("9110 §7.2", "neither authority nor Host", of(&[method, scheme, path]), Reply(400)),
        case("9113 §8.5", "CONNECT is not served", headers(1, 0, &[connect, authority]), Reply(501)),
        case(
            "9113 §8.5",
            "CONNECT with a path",
            headers(1, 0, &[connect, path, authority]),
            Stream(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §8.5",
            "CONNECT with a scheme",
            headers(1, 0, &[connect, scheme, authority]),
            Stream(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §8.5",
            "CONNECT without an authority",
            headers(1, 0, &[connect]),
            Stream(&[PROTOCOL_ERROR]),
        ),
        case("9110 §8.6", "a length that is no number", with("content-length", "x"), MALFORMED),
        case("9110 §8.6", "a length with a sign", with("content-length", "+0"), MALFORMED),
    ]
}
