//! RFC 3875 §6, field by field.

use super::{
    Dialect, Kind, MAX_HEAD_BYTES, Malformed, Parsed, Redirect, ResponseHead, check_every_beginning, parse,
};

fn whole(text: &str) -> (ResponseHead, usize) {
    check_every_beginning(text.as_bytes());
    match parse(text.as_bytes(), Dialect::Parsed) {
        Parsed::Whole(head, length) => (head, length),
        other => panic!("{text:?}: {other:?}"),
    }
}

fn malformed(text: &str, dialect: Dialect) -> Malformed {
    check_every_beginning(text.as_bytes());
    match parse(text.as_bytes(), dialect) {
        Parsed::Malformed(malformed) => malformed,
        other => panic!("{text:?}: {other:?}"),
    }
}

fn status(head: &ResponseHead) -> u16 {
    match head.kind {
        Kind::Response { status, .. } => status,
        Kind::LocalRedirect(_) => panic!("{head:?}"),
    }
}

fn names(head: &ResponseHead) -> Vec<String> {
    head.fields.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect()
}

#[test]
fn both_line_ends_are_taken() {
    for text in [
        "Content-Type: text/plain\n\nbody",
        "Content-Type:text/plain\r\n\r\nbody",
        "content-type: \ttext/plain \r\n\nbody",
    ] {
        let (head, length) = whole(text);
        assert_eq!(&text[length..], "body");
        assert_eq!(head.fields[0].1, b"text/plain");
        assert_eq!((status(&head), head.has_type), (200, true));
    }
    assert_eq!(parse(b"Content-Type: text/plain\n", Dialect::Parsed), Parsed::Incomplete);
}

#[test]
fn a_status_is_for_us_and_not_for_the_client() {
    let (head, _) = whole("Status: 404 Not Found\nContent-Type: text/plain\nX-Own: 1\n\n");
    assert_eq!(status(&head), 404);
    assert_eq!(names(&head), ["Content-Type", "X-Own"]);
    assert_eq!(status(&whole("Status: 599\n\n").0), 599);
    for text in [
        "Status: 100 Continue\n\n",
        "Status: 20\n\n",
        "Status: 2000\n\n",
        "Status: OK\n\n",
        "Status: 101 x\n\n",
    ] {
        assert_eq!(malformed(text, Dialect::Parsed), Malformed::Status, "{text:?}");
    }
}

#[test]
fn a_location_redirects_the_client_or_us() {
    let local = Kind::LocalRedirect(b"/other?a=b".to_vec());
    assert_eq!(whole("Location: /other?a=b\n\n").0.kind, local);
    for (text, expected) in [
        ("Location: http://example.org/\n\n", 302),
        ("Location: /other#part\n\n", 302),
        ("Location: other\n\n", 302),
        ("Status: 303 See Other\nLocation: /other\n\n", 303),
        ("Location: /other\nSet-Cookie: a=b\n\n", 302),
        ("Status: 301\nContent-Type: text/plain\nLocation: mailto:a@b\n\nmoved", 301),
    ] {
        let (head, _) = whole(text);
        assert_eq!(head.kind, Kind::Response { status: expected, redirect: Redirect::Yes }, "{text:?}");
        assert!(names(&head).contains(&"Location".to_owned()), "{text:?}");
    }
    assert_eq!(malformed("Location: http://a b\n\n", Dialect::Parsed), Malformed::Location);
    assert_eq!(malformed("Location: /\u{e9}\n\n", Dialect::Parsed), Malformed::Location);
}

#[test]
fn one_cgi_field_is_needed_and_none_may_come_twice() {
    for text in ["\n", "X-Own: 1\n\n", "Content-Type:\n\n", "Content-Length: 3\n\n"] {
        assert_eq!(malformed(text, Dialect::Parsed), Malformed::NoCgiField, "{text:?}");
    }
    for name in ["Content-Type: a/b", "Location: /x", "Status: 200"] {
        let text = format!("{name}\n{name}\n\n");
        assert_eq!(malformed(&text, Dialect::Parsed), Malformed::Repeated, "{text:?}");
    }
}

#[test]
fn what_is_no_field_is_refused() {
    for text in [
        "Content-Type: a/b\nno colon\n\n",
        ": nameless\n\n",
        "Content-Type : a/b\n\n",
        "Content-Type: a\rb\n\n",
        "Content-Type: a/b\nX: \u{0}\n\n",
        "HTTP/1.1 200 OK\nContent-Type: a/b\n\n",
    ] {
        assert_eq!(malformed(text, Dialect::Parsed), Malformed::Line, "{text:?}");
    }
    assert_eq!(malformed("Content-Type: a/b;\n c=d\n\n", Dialect::Parsed), Malformed::Continuation);
}

#[test]
fn what_is_about_the_connection_stays_here() {
    let (head, _) = whole(
        "Content-Type: a/b\nConnection: close, X-Private\nX-Private: 1\nTransfer-Encoding: chunked\nKeep-Alive: 3\n\
         Upgrade: x\nTrailer: y\nTE: z\nProxy-Connection: c\nX-CGI-Trick: 1\nX-Public: 1\nSet-Cookie: a\nSet-Cookie: b\n\n",
    );
    assert_eq!(names(&head), ["Content-Type", "X-Public", "Set-Cookie", "Set-Cookie"]);
}

#[test]
fn a_length_is_one_number() {
    let (head, _) = whole("Content-Type: a/b\nContent-Length: 5\ncontent-length: 5\n\n");
    assert_eq!(names(&head), ["Content-Type", "Content-Length"]);
    for value in ["5\nContent-Length: 6", "-1", "5, 5", "0x5", "99999999999999999999"] {
        let text = format!("Content-Type: a/b\nContent-Length: {value}\n\n");
        assert_eq!(malformed(&text, Dialect::Parsed), Malformed::Length, "{text:?}");
    }
}

#[test]
fn a_head_has_bounds() {
    let long = format!("Content-Type: a/b\nX: {}\n\n", "x".repeat(MAX_HEAD_BYTES));
    assert_eq!(parse(long.as_bytes(), Dialect::Parsed), Parsed::Malformed(Malformed::TooLarge));
    let endless = vec![b'x'; MAX_HEAD_BYTES];
    assert_eq!(parse(&endless, Dialect::Parsed), Parsed::Malformed(Malformed::TooLarge));
    let many = format!("Content-Type: a/b\n{}\n", "X: 1\n".repeat(300));
    assert_eq!(parse(many.as_bytes(), Dialect::Parsed), Parsed::Malformed(Malformed::TooLarge));
}

#[test]
fn an_nph_program_writes_its_own_status_line() {
    let text = "HTTP/1.0 418 I'm a teapot\r\nConnection: close\r\nStatus: 1\r\nX-Own: a\r\n\r\n";
    let Parsed::Whole(head, length) = parse(text.as_bytes(), Dialect::NonParsed) else { panic!("{text:?}") };
    assert_eq!((status(&head), length), (418, text.len()));
    assert_eq!(names(&head), ["Status", "X-Own"]);
    assert_eq!(malformed("Content-Type: a/b\n\n", Dialect::NonParsed), Malformed::NonParsed);
    assert_eq!(
        malformed("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", Dialect::NonParsed),
        Malformed::NonParsed
    );
    assert_eq!(malformed("HTTP/1.1 100 Continue\n\n", Dialect::NonParsed), Malformed::Status);
}
