//! What RFC 9113 and RFC 7541 ask of a server, section by section: each case is played against an app that reads the body before it
//! replies, and against one that replies at once and never reads.

mod connection_cases;
mod connection_frame_cases;
mod field_cases;
mod frame_cases;
mod hpack_cases;

use std::collections::BTreeSet;

use worker_server::{App, Exchange, RequestHead};

use super::{
    client::Client,
    frames::*,
    support::apps::{Script, collect, reply},
};

/// One case.
pub struct Case {
    /// Where it is said: "9113 §6.5" or "7541 §6.1".
    pub section: &'static str,
    pub name: &'static str,
    /// What the client sends after its preface, in pieces that are read one by one.
    pub pieces: Vec<Vec<u8>>,
    pub expect: Expect,
}

/// What must come of it.
pub enum Expect {
    /// A GOAWAY with one of these codes, and the end of the connection.
    Connection(&'static [u32]),
    /// A reset of stream 1 with one of these codes, or, as a server may choose, the same as an error of the connection. An app that
    /// replied before its client went wrong is done with the stream: then its reply is whole, or the stream was reset all the same.
    Stream(&'static [u32]),
    /// A reply with this status on stream 1; the connection goes on.
    Reply(u16),
    /// Stream 1 is answered with 200, and this is true besides.
    Holds(fn(&Seen) -> bool),
}

/// What the client has seen.
pub struct Seen {
    pub frames: Vec<Frame>,
    pub text: String,
}

impl Seen {
    pub fn count(&self, kind: u8) -> usize {
        self.frames.iter().filter(|frame| frame.kind == kind).count()
    }
}

pub fn case(section: &'static str, name: &'static str, bytes: Vec<u8>, expect: Expect) -> Case {
    Case { section, name, pieces: vec![bytes], expect }
}

/// Says what it was asked, after the body.
fn reader() -> impl App<Chunk = Vec<u8>> {
    Script(|head: &RequestHead<'_>, exchange: Exchange<Vec<u8>>| {
        let text = describe(head);
        collect(exchange, move |exchange, body| {
            let text = format!("{text} {}", body.escape_ascii());
            reply(exchange, 200, &[], text.as_bytes());
        });
    })
}

/// The same without the body.
fn hasty() -> impl App<Chunk = Vec<u8>> {
    Script(|head: &RequestHead<'_>, exchange: Exchange<Vec<u8>>| {
        reply(&exchange, 200, &[], describe(head).as_bytes());
    })
}

fn describe(head: &RequestHead<'_>) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let fields: Vec<String> =
        head.headers.iter().map(|it| format!("{}={}", text(it.name), text(it.value))).collect();
    format!("{} {} [{}]", text(head.method), text(head.path), fields.join(";"))
}

/// A stream that no case uses, for a request after it.
const LATER_STREAM: u32 = 2001;

fn play<A: App>(case: &Case, app: A, is_hasty: bool) -> Result<(), String> {
    let mut client = Client::new(app);
    for piece in &case.pieces {
        client.send(piece);
    }
    let goes_on = |client: &mut Client<A>| {
        client.send(get(LATER_STREAM, "/later"));
        client.reply(LATER_STREAM).status == 200 && client.goaway().is_none()
    };
    let first = client.reply(1);
    let sound = match &case.expect {
        Expect::Connection(codes) => {
            client.goaway().is_some_and(|code| codes.contains(&code)) && client.rig.wire.output_ended()
        }
        Expect::Stream(codes) => {
            let is_reset = first.reset.is_some_and(|code| codes.contains(&code));
            let was_done = is_hasty && first.status == 200;
            let is_ended = client.goaway().is_some_and(|code| codes.contains(&code));
            if is_ended {
                client.rig.wire.output_ended()
            } else {
                (is_reset || was_done) && goes_on(&mut client)
            }
        }
        Expect::Reply(status) => first.status == *status && first.is_complete && goes_on(&mut client),
        Expect::Holds(holds) => {
            let seen = Seen { frames: client.frames.clone(), text: first.text() };
            first.status == 200 && first.is_complete && holds(&seen) && goes_on(&mut client)
        }
    };
    if sound {
        return Ok(());
    }
    let app = if is_hasty { "hasty" } else { "reader" };
    Err(format!(
        "{} {} ({app}): closed {}, {:?}",
        case.section,
        case.name,
        client.rig.wire.output_ended(),
        client.frames
    ))
}

fn all() -> Vec<Case> {
    [
        connection_cases::all(),
        connection_frame_cases::all(),
        frame_cases::all(),
        field_cases::all(),
        hpack_cases::all(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[test]
fn every_must_is_kept_whether_the_app_reads_or_not() {
    let cases = all();
    let failures: Vec<String> = cases
        .iter()
        .flat_map(|case| [play(case, reader(), false), play(case, hasty(), true)])
        .filter_map(Result::err)
        .collect();
    println!("{} cases", cases.len());
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn the_cases_are_many_and_each_has_a_name() {
    let cases = all();
    let names: BTreeSet<_> = cases.iter().map(|case| (case.section, case.name)).collect();
    assert_eq!(names.len(), cases.len(), "a name comes twice");
    assert!(cases.len() >= 140, "{}", cases.len());
}
