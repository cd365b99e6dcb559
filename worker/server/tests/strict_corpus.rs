//! Every case of the corpus: what is invalid is refused with the right status and closed, what is valid reaches the app exactly and is
//! answered; in one piece, cut in two anywhere, and byte by byte.

mod corpus;
mod support;

use std::path::Path;

use corpus::{Case, Seen};
use support::{Rig, apps};

/// What came back, and whether the connection is closed.
fn play<'a>(pieces: impl Iterator<Item = &'a [u8]>, name: &str) -> (String, bool) {
    let mut rig = Rig::new(apps::describing());
    for piece in pieces {
        // What a client sends behind a close is its own affair.
        let is_open = !rig.wire.output_ended();
        rig.send(piece);
        assert!(
            !is_open || rig.wire.unread() == 0,
            "{name}: closed with unread bytes, which destroys the reply"
        );
    }
    let is_closed = rig.wire.output_ended();
    (rig.received().replace("HTTP/1.1 100 Continue\r\n\r\n", ""), is_closed)
}

/// Takes the replies apart: status and body of each. All have a Content-Length; `bodies` says which have a body at all.
fn replies(mut received: &str, case: &Case) -> Vec<(u16, String)> {
    let mut replies = Vec::new();
    while !received.is_empty() {
        let (head, rest) =
            received.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{}: {received}", case.name));
        let status = head["HTTP/1.1 ".len()..][..3].parse().expect("a status");
        let (_, length) = head.split_once("content-length: ").expect("a length");
        let length = length.lines().next().unwrap_or_default().parse().expect("a number");
        let has_body = case.seen.get(replies.len()) != Some(&Seen::Nothing);
        let (body, rest) = rest.split_at(if has_body { length } else { 0 });
        replies.push((status, body.to_owned()));
        received = rest;
    }
    replies
}

fn check(case: &Case, received: &str, is_closed: bool) {
    let Case { name, clause, .. } = case;
    let replies = replies(received, case);
    let expected = case.seen.len() + usize::from(case.refusal.is_some());
    assert_eq!(replies.len(), expected, "{name} ({clause}): {received}");
    for (seen, (status, body)) in case.seen.iter().zip(&replies) {
        assert_eq!(*status, 200, "{name} ({clause}): {body}");
        match seen {
            Seen::Whole(text) => assert_eq!(body, text, "{name} ({clause})"),
            Seen::Start(text) => assert!(body.starts_with(text), "{name} ({clause}): {body}"),
            Seen::Nothing => assert_eq!(body, "", "{name} ({clause})"),
        }
    }
    if let Some(refusal) = &case.refusal {
        let (status, body) = replies.last().expect("a reply");
        assert_eq!(*status, refusal.status, "{name} ({clause}): {body}");
        assert!(body.ends_with(&format!(": {}\n", refusal.words)), "{name} ({clause}): {body}");
        assert!(received.contains("\r\nconnection: close\r\n"), "{name} ({clause}): {received}");
    }
    assert_eq!(is_closed, case.closes, "{name} ({clause}): open or closed?");
}

fn corpus() -> Vec<Case> {
    corpus::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus"))
}

#[test]
fn every_case_is_judged_as_its_clause_says_however_it_is_cut() {
    let corpus = corpus();
    let refused = corpus.iter().filter(|case| case.refusal.is_some()).count();
    assert!(
        corpus.len() >= 230 && refused >= 150 && corpus.len() - refused >= 70,
        "{refused} of {}",
        corpus.len()
    );
    for case in &corpus {
        let sent = case.sent.as_slice();
        let (received, is_closed) = play(std::iter::once(sent), &case.name);
        check(case, &received, is_closed);
        let whole = (received, is_closed);
        let step = (sent.len() / 400).max(1);
        for cut in (0..=sent.len()).step_by(step) {
            let (one, other) = sent.split_at(cut);
            assert_eq!(play([one, other].into_iter(), &case.name), whole, "{} cut at {cut}", case.name);
        }
        if sent.len() < 1000 {
            assert_eq!(play(sent.chunks(1), &case.name), whole, "{} byte by byte", case.name);
        }
    }
}

#[test]
fn every_case_has_a_name_of_its_own() {
    let mut names: Vec<_> = corpus().into_iter().map(|case| case.name).collect();
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}
