//! Lines of whole requests.

use std::{
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{
    AccessLog, AccessOutput, Format, LINE_BYTES, LocalTime, Notation, OutcomeFact, RequestFact, RequestFacts,
    Step,
};
use crate::{
    BodyLength, ConnectionInfo, Header, Peer, PrefixPlace, RequestHead, RequestOutcome, Scheme, Version,
};

/// Keeps the lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<Vec<u8>>>>);

impl AccessOutput for Lines {
    fn now(&self) -> LocalTime {
        LocalTime { unix_ms: 784_111_777_042, utc_offset_seconds: 3_600 }
    }

    fn write(&self, line: &[u8]) {
        self.0.lock().expect("one thread").push(line.to_vec());
    }
}

const OUTCOME: RequestOutcome = RequestOutcome {
    status: 200,
    duration: Duration::from_micros(2_001_234),
    request_bytes: 5,
    reply_bytes: 12,
    aborted: false,
};

/// The line of a GET with these fields.
fn line(format: Format, target: &str, headers: &[(&str, &[u8])], outcome: RequestOutcome) -> String {
    let lines = Lines::default();
    let log = AccessLog::new(format, lines.clone());
    let connection = Rc::new(ConnectionInfo {
        peer: Peer::Tcp("[2001:db8::1]:4711".parse().expect("an address")),
        local: Peer::Tcp("127.0.0.1:80".parse().expect("an address")),
        scheme: Scheme::Http,
        tls: None,
    });
    let headers: Vec<Header<'_>> =
        headers.iter().map(|(name, value)| Header { name: name.as_bytes(), value }).collect();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let head = RequestHead {
        method: b"GET",
        path: path.as_bytes(),
        query: query.as_bytes(),
        version: Version::Http11,
        headers: &headers,
        body: BodyLength::None,
        connection: &connection,
        offers: crate::Offers::default(),
        client: &connection.peer,
        scheme: Scheme::Http,
        prefix: b"",
        prefix_place: PrefixPlace::TakenOff,
    };
    let request = format!("GET {target} HTTP/1.1");
    // Twice: the second entry is the first one used again.
    for _ in 0..2 {
        let facts = RequestFacts { line: request.as_bytes(), head: Some(&head), connection: &connection };
        let mut entry = log.begin(&facts);
        if log.wants_reply_fields() {
            log.reply_field(&mut entry, b"content-type", b"text/plain");
            log.reply_field(&mut entry, b"content-type", b"a second one");
        }
        log.finish(entry, &outcome);
    }
    let written = lines.0.lock().expect("one thread");
    assert_eq!(written[0], written[1]);
    assert!(written[0].len() <= LINE_BYTES && written[0].iter().filter(|&&byte| byte == b'\n').count() == 1);
    String::from_utf8(written[0].clone()).expect("text").trim_end_matches('\n').to_owned()
}

#[test]
fn uvicorns_line() {
    let shown = line(Format::uvicorn(), "/a?b=c", &[], OUTCOME);
    assert_eq!(shown, "INFO:     2001:db8::1:4711 - \"GET /a?b=c HTTP/1.1\" 200 OK");
    let record = line(Format::uvicorn_record(), "/a?b=c", &[], OUTCOME);
    assert_eq!(record, "2001:db8::1:4711\tGET\t/a?b=c\t1.1\t200");
}

#[test]
fn every_fact_has_its_form() {
    let steps = [
        Step::Request(RequestFact::ClientAddress),
        Step::Request(RequestFact::ClientPort),
        Step::Request(RequestFact::ServerAddress),
        Step::Request(RequestFact::ServerPort),
        Step::Request(RequestFact::User),
        Step::Request(RequestFact::Method),
        Step::Request(RequestFact::Path),
        Step::Request(RequestFact::Query),
        Step::Request(RequestFact::Protocol),
        Step::Request(RequestFact::Scheme),
        Step::Request(RequestFact::Field(b"x".to_vec())),
        Step::Request(RequestFact::Field(b"y".to_vec())),
        Step::ReplyField(b"content-type".to_vec()),
        Step::ReplyField(b"server".to_vec()),
        Step::Outcome(OutcomeFact::CommonLogTime),
        Step::Outcome(OutcomeFact::ReplyBytesOrDash),
        Step::Outcome(OutcomeFact::Seconds),
        Step::Outcome(OutcomeFact::Milliseconds),
        Step::Outcome(OutcomeFact::Microseconds),
        Step::Outcome(OutcomeFact::DecimalSeconds),
    ];
    let parted = steps.into_iter().flat_map(|step| [step, Step::Literal(b"|".to_vec())]).collect();
    let headers: [(&str, &[u8]); 2] = [("authorization", b"Basic QWxhZGRpbjpvcGVu"), ("x", b"a \"b\"\xff")];
    assert_eq!(
        line(Format::new(Notation::Text, parted), "/p", &headers, OUTCOME),
        "2001:db8::1|4711|127.0.0.1|80|Aladdin|GET|/p|-|HTTP/1.1|http|a \\x22b\\x22\\xFF|-|text/plain|-|\
         [06/Nov/1994:09:49:37 +0100]|12|2|2001|2001234|2.001234|"
    );
}

#[test]
fn json_is_one_object() {
    let headers: [(&str, &[u8]); 2] = [("user-agent", b"curl\"\\\n"), ("host", b"example.org")];
    let outcome = RequestOutcome { status: 0, aborted: true, ..OUTCOME };
    assert_eq!(
        line(Format::json(42), "/caf%C3%A9?q=\"", &headers, outcome),
        r#"{"timestamp":"1994-11-06T09:49:37.042+01:00","process.pid":42,"client.address":"2001:db8::1","#
            .to_owned()
            + r#""http.request.method":"GET","url.path":"/caf%C3%A9","url.query":"q=\"","url.scheme":"http","#
            + r#""network.protocol.version":"1.1","http.response.status_code":499,"http.request.body.size":5,"#
            + r#""http.response.body.size":12,"duration_s":2.001234,"aborted":true,"#
            + r#""http.request.header.host":"example.org","user_agent.original":"curl\"\\\u000A","#
            + r#""http.request.header.referer":null,"request_id":null,"traceparent":null}"#
    );
}

#[test]
fn long_values_share_the_line() {
    let (long, longer) = ("x".repeat(3_000), "\n".repeat(9_000));
    let headers: [(&str, &[u8]); 4] = [
        ("host", b"example.org"),
        ("user-agent", longer.as_bytes()),
        ("referer", longer.as_bytes()),
        ("traceparent", b"00-1"),
    ];
    let shown = line(Format::json(42), &format!("/{long}"), &headers, OUTCOME);
    assert!(shown.contains(&format!("\"/{long}\"")), "what fits is whole: {shown}");
    assert!(shown.ends_with("\"traceparent\":\"00-1\"}"), "what follows a long value is there: {shown}");
    assert!(shown.contains("\\u000A...\""), "a cut is marked: {shown}");
}

#[test]
fn a_request_without_a_head_shows_its_line() {
    let lines = Lines::default();
    let log = AccessLog::new(Format::json(1), lines.clone());
    let connection =
        ConnectionInfo { peer: Peer::Unix(None), local: Peer::Unix(None), scheme: Scheme::Https, tls: None };
    for (request, part) in [
        (
            &b"GET /a?b HTTP/9.9"[..],
            r#""client.address":null,"http.request.method":"GET","url.path":"/a","url.query":"b","url.scheme":"https","network.protocol.version":"9.9""#,
        ),
        (b"\x16\x03\x01", r#""http.request.method":"\u0016\u0003\u0001","url.path":null"#),
        (b"", r#""http.request.method":null"#),
    ] {
        let entry = log.begin(&RequestFacts { line: request, head: None, connection: &connection });
        log.finish(entry, &RequestOutcome { status: 400, ..OUTCOME });
        let line = lines.0.lock().expect("one thread").pop().expect("a line");
        let line = String::from_utf8(line).expect("text");
        assert!(line.contains(part), "{line}");
    }
}
