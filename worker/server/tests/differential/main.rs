//! The engine against hyper's HTTP/1 server, on generated connections: what one accepts the other must accept and read the same
//! way. Where the engine refuses what hyper takes, the refusal must be a rule named here, and the generator must have broken
//! that rule; where hyper refuses what the engine takes, the reason must be named here too. Anything else fails, with its seed.

#![allow(clippy::unwrap_used, reason = "a test that breaks its own rules may panic")]

mod generator;
mod oracle;
#[path = "../support/mod.rs"]
mod support;

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use generator::{Generator, Sample};
use support::{
    Rig,
    apps::{Script, collect, reply},
};
use worker_server::{Exchange, Limits, RequestHead, Version};

const CONNECTIONS: u64 = 75_000;
/// The issue wants this many requests at least.
const LEAST_REQUESTS: usize = 100_000;

/// Rules by which the engine is stricter than hyper, as its replies word them.
const STRICTER: [&str; 16] = [
    "malformed request line",
    "line ends in LF without CR",
    "character not allowed in the request target",
    "malformed request target",
    "CONNECT is not supported",
    "Host header field missing",
    "more than one Host header field",
    "invalid Host",
    "Content-Length together with Transfer-Encoding",
    "invalid Content-Length",
    "more than one Content-Length header field",
    "Transfer-Encoding other than chunked",
    "unknown expectation",
    "request line too long",
    "malformed chunk",
    "malformed or forbidden trailer field",
];

/// Bytes in a target that `http::Uri` cannot hold or the engine passes on as they are: RFC 3986 excludes them, clients send them,
/// and no two servers can disagree about where such a target ends.
const ODD_TARGET_BYTES: &[u8] = b"\"<>\\^`{|}";

/// A request as an app sees it, in words that both servers have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) version: &'static str,
    /// Sorted by name; values of one name in the order of the wire. Without Host if the target was absolute.
    pub(crate) headers: Vec<(String, String)>,
    /// Host, or the authority of an absolute target.
    pub(crate) host: Option<String>,
    pub(crate) body: String,
}

/// What became of a connection.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) seen: Vec<Seen>,
    /// Successful replies on the wire.
    pub(crate) replies: usize,
    /// The words with which a request was refused.
    pub(crate) refusal: Option<String>,
}

/// Sorts fields by name, so that the order between names, which hyper does not keep, does not count.
pub(crate) fn sorted(mut fields: Vec<(String, String)>) -> Vec<(String, String)> {
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    fields
}

/// Bytes as text that shows each of them.
pub(crate) fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Limits that are hyper's where both have one.
fn limits() -> Limits {
    Limits { header_count: 100, ..support::limits() }
}

fn play_on_engine(pieces: &[Vec<u8>]) -> Outcome {
    let seen: Rc<RefCell<Vec<Seen>>> = Rc::default();
    let log = Rc::clone(&seen);
    let app = Script(move |head: &RequestHead<'_>, exchange: Exchange<Vec<u8>>| {
        let mut seen = see(head);
        let log = Rc::clone(&log);
        collect(exchange, move |exchange, body| {
            seen.body = text(&body);
            log.borrow_mut().push(seen);
            reply(exchange, 200, &[], b"ok");
        });
    });
    let mut rig = Rig::with_limits(app, limits());
    for piece in pieces {
        rig.send(piece);
    }
    let output = text(&rig.wire.take_output());
    let refusal = ["HTTP/1.1 4", "HTTP/1.1 5"].iter().find_map(|start| output.find(start)).map(|start| {
        let reason = output[start..].rsplit(": ").next().unwrap_or_default();
        reason.trim_end_matches("\\n").to_owned()
    });
    Outcome { seen: seen.take(), replies: output.matches(" 200 OK\\r\\n").count(), refusal }
}

fn see(head: &RequestHead<'_>) -> Seen {
    let mut host = None;
    let mut headers = Vec::new();
    for header in head.headers {
        if header.name == b"host" {
            host = Some(text(header.value));
        } else {
            headers.push((text(header.name), text(header.value)));
        }
    }
    Seen {
        method: text(head.method),
        path: text(head.path),
        query: text(head.query),
        version: match head.version {
            Version::Http10 => "1.0",
            Version::Http11 => "1.1",
            Version::Http2 => "2",
        },
        headers: sorted(headers),
        host,
        body: String::new(),
    }
}

/// What the two made of one connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Same,
    BothRefuse,
    Stricter(String),
    Wider(&'static str),
}

fn judge(sample: &Sample, engine: &Outcome, hyper: &Outcome) -> Result<Verdict, String> {
    let common = engine.seen.len().min(hyper.seen.len());
    if engine.seen[..common] != hyper.seen[..common] {
        return Err("a request was read in two ways".into());
    }
    if engine.replies != engine.seen.len() || hyper.replies != hyper.seen.len() {
        return Err("a request was not answered".into());
    }
    match (&engine.refusal, engine.seen.len() == common, hyper.seen.len() == common) {
        (None, true, true) if hyper.refusal.is_none() => Ok(Verdict::Same),
        (Some(_), true, true) if hyper.refusal.is_some() => Ok(Verdict::BothRefuse),
        (Some(rule), true, _) => {
            if !STRICTER.contains(&rule.as_str()) {
                return Err(format!("refused by the engine alone, by a rule that is not listed: {rule}"));
            }
            if !sample.may_break(common, rule) {
                return Err(format!(
                    "refused by the engine alone, though the request keeps the rule: {rule}"
                ));
            }
            Ok(Verdict::Stricter(rule.clone()))
        }
        (_, _, true) if hyper.refusal.is_some() => wider(engine, common),
        _ => Err("one of the two waits for more".into()),
    }
}

/// Why the engine may take what hyper refuses.
fn wider(engine: &Outcome, common: usize) -> Result<Verdict, String> {
    let Some(next) = engine.seen.get(common) else {
        return Err("refused by hyper alone, the engine waits".into());
    };
    let has_odd_bytes = |part: &str| part.bytes().any(|byte| ODD_TARGET_BYTES.contains(&byte));
    if has_odd_bytes(&next.path) || has_odd_bytes(&next.query) {
        return Ok(Verdict::Wider("bytes in a target that http::Uri cannot hold"));
    }
    Err("refused by hyper alone".into())
}

#[test]
fn the_engine_reads_every_request_as_hyper_does_or_refuses_it_by_a_named_rule() {
    let mut verdicts: BTreeMap<Verdict, usize> = BTreeMap::new();
    let mut requests = 0;
    for seed in 0..CONNECTIONS {
        let sample = Generator::new(seed).connection();
        let engine = play_on_engine(&sample.pieces);
        requests += engine.seen.len() + usize::from(engine.refusal.is_some());
        let hyper = oracle::play_on_hyper(&sample.pieces);
        match judge(&sample, &engine, &hyper) {
            Ok(verdict) => *verdicts.entry(verdict).or_default() += 1,
            Err(difference) => panic!(
                "seed {seed}: {difference}\nmutation: {}\nsent:   {}\nengine: {engine:?}\nhyper:  {hyper:?}",
                sample.mutation,
                text(&sample.pieces.concat()),
            ),
        }
    }
    for (verdict, count) in &verdicts {
        println!("{count:>7}  {verdict:?}");
    }
    assert!(requests >= LEAST_REQUESTS, "only {requests} requests");
    let never: Vec<&&str> = STRICTER
        .iter()
        .filter(|rule| !verdicts.contains_key(&Verdict::Stricter((**rule).to_owned())))
        .collect();
    assert!(never.is_empty(), "rules that were never needed, or that the generator never breaks: {never:?}");
    assert!(verdicts[&Verdict::Same] > 20_000 && verdicts[&Verdict::BothRefuse] > 1_000, "{verdicts:?}");
}
