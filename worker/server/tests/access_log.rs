//! Each request has its line in the access log, however it ends, and what a client sends cannot make another one.

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use support::{
    Rig,
    apps::{self, Script, head, keeper},
    body_bytes,
};
use worker_server::{
    AccessLog, AccessOutput, App, Format, Last, LocalTime, Notation, OutcomeFact, RequestFact, Step,
};

/// Keeps the lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<String>>);

impl AccessOutput for Lines {
    fn now(&self) -> LocalTime {
        LocalTime { unix_ms: 784_111_777_000, utc_offset_seconds: 0 }
    }

    fn write(&self, line: &[u8]) {
        self.0.lock().expect("one thread").push_str(std::str::from_utf8(line).expect("text"));
    }
}

impl Lines {
    fn take(&self) -> String {
        std::mem::take(&mut self.0.lock().expect("one thread"))
    }
}

/// A rig with a log of request line, status, bytes of body, a field of each side, and duration.
fn rig<A: App>(app: A) -> (Rig<A>, Lines) {
    let space = || Step::Literal(b" ".to_vec());
    let steps = vec![
        Step::Literal(b"\"".to_vec()),
        Step::Request(RequestFact::Line),
        Step::Literal(b"\" ".to_vec()),
        Step::Outcome(OutcomeFact::Status),
        space(),
        Step::Outcome(OutcomeFact::ReplyBytes),
        space(),
        Step::Request(RequestFact::Field(b"x".to_vec())),
        space(),
        Step::ReplyField(b"content-length".to_vec()),
        space(),
        Step::Outcome(OutcomeFact::Seconds),
        space(),
        Step::Outcome(OutcomeFact::Aborted),
    ];
    let lines = Lines::default();
    let rig = Rig::new(app);
    rig.log_access(AccessLog::new(Format::new(Notation::Text, steps), lines.clone()));
    (rig, lines)
}

fn hello() -> impl App<Chunk = Vec<u8>> {
    Script(|_: &worker_server::RequestHead<'_>, exchange| apps::reply(&exchange, 200, &[], b"hello"))
}

#[test]
fn answered_requests_in_their_order() {
    let (mut rig, lines) = rig(hello());
    rig.send("GET /a?b HTTP/1.1\r\nHost: a\r\nX: \"yÿ\r\n\r\nHEAD /c HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(
        lines.take(),
        "\"GET /a?b HTTP/1.1\" 200 5 \\x22y\\xC3\\xBF 5 0 false\n\"HEAD /c HTTP/1.1\" 200 0 - 5 0 false\n"
    );
}

#[test]
fn refused_requests() {
    for (request, line) in [
        ("GET / HTTP/1.1\r\n\r\n", "\"GET / HTTP/1.1\" 400 "),
        ("\"GET\" /\\\x1b HTTP/1.1\r\nHost: a\r\n\r\n", "\"\\x22GET\\x22 /\\x5C\\x1B HTTP/1.1\" 400 "),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "\"POST / HTTP/1.1\" 400 ",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "\"POST / HTTP/1.1\" 400 ",
        ),
    ] {
        let (mut rig, lines) = rig(hello());
        rig.send(request);
        let written = lines.take();
        assert!(written.starts_with(line), "{written}");
        assert_eq!(written.matches('\n').count(), 1, "{written}");
    }
}

/// Found by hand: the body of a reply that the engine gives in an application's place was logged as none.
#[test]
fn replies_in_the_place_of_an_app() {
    let fails = || {
        Script(|_: &worker_server::RequestHead<'_>, exchange: worker_server::Exchange<Vec<u8>>| {
            exchange.fail();
        })
    };
    let (mut failed, lines) = rig(fails());
    failed.send("GET /boom HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(lines.take(), "\"GET /boom HTTP/1.1\" 500 21 - - 0 false\n");
    let (mut withheld, lines) = rig(fails());
    withheld.send("HEAD /boom HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(lines.take(), "\"HEAD /boom HTTP/1.1\" 500 0 - - 0 false\n");

    let (kept, app) = keeper();
    let (mut stalled, lines) = rig(app);
    stalled
        .send("POST /late HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf")
        .pass(Duration::from_mins(10));
    let written = lines.take();
    let body = body_bytes(&stalled.received());
    assert!(written.starts_with(&format!("\"POST /late HTTP/1.1\" 408 {body} ")) && body > 0, "{written}");
    drop(kept);
}

#[test]
fn requests_that_time_out_or_are_left() {
    let (mut head_is_late, lines) = rig(hello());
    head_is_late.send("GET /late HTTP/1.1\r\n").pass(Duration::from_secs(10));
    assert!(lines.take().starts_with("\"GET /late HTTP/1.1\" 408 "));

    // Nothing was asked, so nothing is said.
    let (mut silent, lines) = rig(hello());
    silent.run().pass(Duration::from_secs(20));
    assert_eq!(lines.take(), "");

    let (kept, app) = keeper();
    let (mut left, lines) = rig(app);
    left.send("GET /left HTTP/1.1\r\nHost: a\r\n\r\n").pass(Duration::from_secs(3));
    left.wire.end_input();
    left.run();
    assert_eq!(lines.take(), "\"GET /left HTTP/1.1\" 499 0 - - 3 true\n");
    drop(kept);

    let (kept, app) = keeper();
    let (mut broken, lines) = rig(app);
    broken.send("GET /broken HTTP/1.1\r\nHost: a\r\n\r\n");
    let exchange = kept.borrow_mut().pop().expect("a request");
    assert!(head(&exchange, 200, &[("content-length", "9")]).is_ok());
    assert!(exchange.body(b"half".to_vec(), Last::No).is_ok());
    drop(exchange);
    broken.run();
    assert_eq!(lines.take(), "\"GET /broken HTTP/1.1\" 200 4 - 9 0 true\n");
}
