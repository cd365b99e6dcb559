//! Promise: HTTP/1 to the letter. Every case of the corpus is judged over the wire, by the whole product with a Python application, as
//! its clause says; and where uvicorn, gunicorn or nginx judges otherwise, a table says why. A disagreement that nobody explained fails,
//! and so does an explanation of none.

#[path = "../../worker/server/tests/corpus/mod.rs"]
mod corpus;
mod peers;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use harness::{Guest, Machine, Python, TestDirectory, Tool, patient, repository, require};

use corpus::Case;
use peers::Peer;

/// Sent behind each case: whoever is in step with the client answers it by its path.
const NEXT_REQUEST: &[u8] = b"GET /next-in-step HTTP/1.1\r\nHost: a\r\n\r\n";
/// What the answer to it holds.
const NEXT_PATH: &[u8] = b"/next-in-step";
/// A server that says nothing for so long waits for more.
const SILENCE: Duration = Duration::from_secs(2);
/// Cases that are played at the same time. Most of them wait for nothing.
const PLAYERS: usize = 16;

fn corpus() -> Vec<Case> {
    corpus::all(&repository().join("worker/server/tests/corpus"))
}

/// What a server makes of a case: the statuses of its replies, and whether the connection then serves another request.
fn verdict(socket: &Path, case: &Case) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patient(SILENCE)))?;
    // A server that refuses need not read to the end.
    let _refused = stream.write_all(&[&case.sent, NEXT_REQUEST].concat());
    let mut received = Vec::new();
    let mut piece = [0; 64 * 1024];
    let fate = loop {
        match stream.read(&mut piece) {
            Ok(0) => break "closed",
            Ok(count) => received.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break "silent",
            // A reset is a close.
            Err(_error) => break "closed",
        }
        if received.windows(NEXT_PATH.len()).any(|window| window == NEXT_PATH) {
            break "open";
        }
    };
    let mut words = statuses(&received);
    if fate == "open" {
        words.pop();
    }
    if words.is_empty() {
        words.push("nothing".to_owned());
    }
    Ok(format!("{} {fate}", words.join(" ")))
}

/// The final statuses in a stream of replies.
fn statuses(received: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(received);
    let starts = text.match_indices("HTTP/1.").filter_map(|(index, _)| text.get(index + 8..index + 12));
    let codes = starts.filter_map(|after| after.strip_prefix(' ')).filter(|code| !code.starts_with('1'));
    codes.filter(|code| code.bytes().all(|byte| byte.is_ascii_digit())).map(ToOwned::to_owned).collect()
}

/// What the corpus says.
fn wanted(case: &Case) -> String {
    let seen = case.seen.iter().map(|_| "200".to_owned());
    let refused = case.refusal.iter().map(|refusal| refusal.status.to_string());
    let words: Vec<_> = seen.chain(refused).collect();
    format!("{} {}", words.join(" "), if case.closes { "closed" } else { "open" })
}

/// The verdicts of one server, in the order of the corpus.
fn verdicts(socket: &Path, corpus: &[Case]) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let mut all: Vec<(usize, String)> = std::thread::scope(|scope| {
        let play = || {
            let mut played = Vec::new();
            while let Some((index, case)) = take(&next, corpus) {
                played.push((index, verdict(socket, case).unwrap_or_else(|error| error.to_string())));
            }
            played
        };
        let players: Vec<_> = (0..PLAYERS).map(|_| scope.spawn(play)).collect();
        players.into_iter().flat_map(|player| player.join().expect("a player")).collect()
    });
    all.sort();
    all.into_iter().map(|(_, verdict)| verdict).collect()
}

fn take<'c>(next: &AtomicUsize, corpus: &'c [Case]) -> Option<(usize, &'c Case)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    Some((index, corpus.get(index)?))
}

#[test]
fn every_case_is_judged_as_its_clause_says() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let server = machine.server().guest(Guest::PROBE, &python);
    let server = server.arguments(["--bind", "unix:ours.sock", "app:app"]).start();
    let corpus = corpus();
    let verdicts = verdicts(&server.directory().join("ours.sock"), &corpus);
    let wrong: Vec<_> = corpus
        .iter()
        .zip(&verdicts)
        .filter(|(case, verdict)| wanted(case) != **verdict)
        .map(|(case, verdict)| format!("{} ({}): {verdict}", case.name, case.clause))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    server.stop();
}

/// The table of disagreements: by server and case, its verdict.
fn explained() -> BTreeMap<(String, String), String> {
    let file = repository().join("tests/e2e/strict_http1/disagreements.txt");
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut explained = BTreeMap::new();
    for block in text.split("\n\n").filter(|block| !block.starts_with('#')) {
        let (first, cases) = block.split_once('\n').expect("a line and its cases");
        let [server, verdict, reason] = first.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("{first:?} is no server, verdict and reason");
        };
        assert!(reason.len() > 20, "{first:?} gives no reason");
        for case in cases.split_whitespace() {
            let place = (server.to_owned(), case.to_owned());
            let twice = explained.insert(place, verdict.to_owned());
            assert!(twice.is_none(), "{server} {case} is explained twice");
        }
    }
    explained
}

#[test]
fn every_disagreement_with_other_servers_is_explained() {
    let machine = Machine::shared();
    let Some(nginx) = require(Tool::Nginx) else { return };
    // The versions that the table speaks of are installed from 3.11 up.
    let Some(python) = Python::one_of_each_version().into_iter().find(|it| it.version >= (3, 11, 0)) else {
        return;
    };
    let _machine = &machine;
    let directory = TestDirectory::new();
    let corpus = corpus();
    let mut found = BTreeMap::new();
    for peer in [
        Peer::uvicorn(&python, &directory),
        Peer::gunicorn(&python, &directory),
        Peer::nginx(&nginx, &directory),
    ] {
        for (case, verdict) in corpus.iter().zip(verdicts(&peer.socket, &corpus)) {
            if verdict != wanted(case) {
                found.insert((peer.name.to_owned(), case.name.clone()), verdict);
            }
        }
    }
    let explained = explained();
    let unexplained: Vec<_> =
        found.iter().filter(|(place, verdict)| explained.get(place) != Some(verdict)).collect();
    let idle: Vec<_> = explained.iter().filter(|(place, _)| !found.contains_key(place)).collect();
    assert!(
        unexplained.is_empty() && idle.is_empty(),
        "not explained: {unexplained:#?}\nno disagreement: {idle:#?}"
    );
}
