//! The load client against servers that misbehave on purpose: each way to fail is counted, under its own name, exactly as often
//! as it happened. A client that hides a failure would make every test under load worthless.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use harness::load::{FailureKind, Load, Report};
use socket2::{Domain, SockRef, Socket, Type};

/// What the server does with a request; the argument is its number on its connection, from 0.
#[derive(Clone, Copy)]
enum Deed {
    Answer,
    AnswerAndAnnounceClose,
    AnswerAndClose,
    AnswerAnotherId,
    AnswerTwice,
    AnswerStatus503,
    SayNothing,
    Close,
    Reset,
    CloseWithinBody,
    ResetWithinBody,
    CloseWithinHead,
    SpeakNoHttp,
}

/// A server of one script for every connection, which ends with the test.
struct BadServer {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl BadServer {
    /// Each connection gets the deeds of `script`, one a request; the last one is repeated.
    fn start(script: &'static [Deed]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let is_over = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let (over, count) = (Arc::clone(&is_over), Arc::clone(&done));
        let thread = std::thread::spawn(move || {
            let mut connections = Vec::new();
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let count = Arc::clone(&count);
                connections.push(std::thread::spawn(move || serve(stream, script, &count)));
            }
            for connection in connections {
                connection.join().expect("the bad server does not panic");
            }
        });
        Self { address, is_over, done, thread: Some(thread) }
    }

    /// A load on one connection at a time, slow enough that a close arrives before the next request.
    fn load(&self, requests: u64) -> Load {
        Load {
            concurrency: 1,
            limit: Some(requests),
            think_time: Duration::from_millis(30),
            timeout: Duration::from_millis(300),
            ..Load::new(self.address)
        }
    }

    fn report(&self, requests: u64) -> Report {
        let report = self.load(requests).start().finish();
        assert_eq!(report.sent, requests, "{report}");
        report
    }
}

impl Drop for BadServer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the bad server ends");
        }
    }
}

/// Serves one connection until it or the script ends it.
fn serve(mut stream: TcpStream, script: &[Deed], done: &AtomicU64) {
    for number in 0.. {
        let Some(id) = read_request(&mut stream) else { return };
        let deed = script.get(number).or_else(|| script.last()).copied().expect("a script has a deed");
        done.fetch_add(1, Ordering::Relaxed);
        let answer = |id: &str, more: &str| {
            let body = format!("{id} v1 77\n");
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{more}\r\n{body}", body.len())
        };
        let whole = answer(&id, "");
        let (text, ending) = match deed {
            Deed::Answer => (whole, Ending::GoOn),
            Deed::AnswerAndAnnounceClose => (answer(&id, "Connection: close\r\n"), Ending::Close),
            Deed::AnswerAndClose => (whole, Ending::Close),
            Deed::AnswerAnotherId => (answer("999999", ""), Ending::GoOn),
            Deed::AnswerTwice => (whole.repeat(2), Ending::GoOn),
            Deed::AnswerStatus503 => (whole.replace("200 OK", "503 No"), Ending::GoOn),
            Deed::SayNothing => (String::new(), Ending::GoOn),
            Deed::Close => (String::new(), Ending::Close),
            Deed::Reset => (String::new(), Ending::Reset),
            Deed::CloseWithinBody => (whole[..whole.len() - 3].to_owned(), Ending::Close),
            Deed::ResetWithinBody => (whole[..whole.len() - 3].to_owned(), Ending::Reset),
            Deed::CloseWithinHead => (whole[..20].to_owned(), Ending::Close),
            Deed::SpeakNoHttp => ("220 mail.example ESMTP\r\n\r\n".to_owned(), Ending::Close),
        };
        stream.write_all(text.as_bytes()).expect("the client is there");
        match ending {
            Ending::GoOn => {}
            Ending::Close => return,
            Ending::Reset => {
                // A reset overtakes what was not read yet: first the client must have taken the bytes.
                wait_until_sent(&stream, text.is_empty());
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("linger");
                return;
            }
        }
    }
}

enum Ending {
    GoOn,
    Close,
    Reset,
}

/// Gives the client, which has nothing else to do, the time to read: 50 ms of waiting for bytes that it will not send.
fn wait_until_sent(stream: &TcpStream, nothing_was_sent: bool) {
    if !nothing_was_sent {
        stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        let mut reader = stream;
        let _ = reader.read(&mut [0]);
    }
}

/// Reads a request's head and gives back its id; nothing at the end of the connection.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        text.push(byte[0]);
    }
    let text = String::from_utf8(text).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("X-Request-Id: "))?;
    Some(line.to_owned())
}

#[track_caller]
fn assert_only(report: &Report, kind: FailureKind, count: u64) {
    assert_eq!(report.failed_by(kind), count, "{report}");
    assert_eq!(report.failed_in_all(), count, "{report}");
    assert_eq!(report.answered + count, report.sent, "{report}");
}

#[test]
fn a_good_server_loses_nothing() {
    let server = BadServer::start(&[Deed::Answer]);
    let load = Load { concurrency: 8, think_time: Duration::ZERO, ..server.load(2_000) };
    let report = load.start().finish();
    report.assert_nothing_lost(2_000);
    assert_eq!(report.connections, 8, "{report}");
    assert_eq!(report.versions.get("v1"), Some(&2_000), "{report}");
    assert_eq!(report.workers.get(&77), Some(&2_000), "{report}");
    assert_eq!(server.done.load(Ordering::Relaxed), 2_000, "nothing was sent twice");
}

#[test]
fn an_announced_close_is_no_failure() {
    let server = BadServer::start(&[Deed::Answer, Deed::AnswerAndAnnounceClose]);
    let report = server.report(6);
    report.assert_nothing_lost(6);
    assert_eq!((report.announced_closes, report.clean_closes, report.connections), (3, 0, 3), "{report}");
}

#[test]
fn a_close_between_two_requests_is_counted_apart() {
    let server = BadServer::start(&[Deed::Answer, Deed::AnswerAndClose]);
    let report = server.report(6);
    assert_eq!(report.failed_in_all(), 0, "{report}");
    // The last connection is not used again, so nobody notices its close.
    assert_eq!((report.answered, report.clean_closes, report.connections), (6, 2, 3), "{report}");
}

#[test]
fn a_reset_of_a_fresh_connection_is_counted() {
    assert_only(&BadServer::start(&[Deed::Reset]).report(5), FailureKind::ResetOnFresh, 5);
}

#[test]
fn a_reset_of_a_used_connection_is_counted() {
    let report = BadServer::start(&[Deed::Answer, Deed::Reset]).report(6);
    assert_only(&report, FailureKind::ResetOnReused, 3);
    assert!(report.failures.iter().all(|failure| failure.pid == 77), "the worker is known: {report}");
}

#[test]
fn an_end_without_an_answer_is_counted() {
    assert_only(&BadServer::start(&[Deed::Close]).report(4), FailureKind::ClosedUnanswered, 4);
    assert_only(&BadServer::start(&[Deed::Answer, Deed::Close]).report(4), FailureKind::ClosedUnanswered, 2);
}

#[test]
fn a_reply_that_breaks_off_is_counted() {
    assert_only(&BadServer::start(&[Deed::CloseWithinBody]).report(3), FailureKind::Truncated, 3);
    assert_only(&BadServer::start(&[Deed::ResetWithinBody]).report(3), FailureKind::Truncated, 3);
    assert_only(&BadServer::start(&[Deed::CloseWithinHead]).report(3), FailureKind::Truncated, 3);
}

#[test]
fn silence_is_counted() {
    let server = BadServer::start(&[Deed::SayNothing]);
    assert_only(&server.report(2), FailureKind::TimedOut, 2);
    assert_eq!(server.done.load(Ordering::Relaxed), 2, "nothing was sent twice");
}

#[test]
fn a_bad_status_is_counted() {
    assert_only(&BadServer::start(&[Deed::AnswerStatus503]).report(3), FailureKind::BadStatus, 3);
}

#[test]
fn a_wrong_body_is_counted() {
    assert_only(&BadServer::start(&[Deed::AnswerAnotherId]).report(3), FailureKind::WrongBody, 3);
    assert_only(&BadServer::start(&[Deed::AnswerTwice]).report(3), FailureKind::WrongBody, 3);
    assert_only(&BadServer::start(&[Deed::SpeakNoHttp]).report(3), FailureKind::WrongBody, 3);
}

#[test]
fn a_refusal_is_counted() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let address: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    // Bound but not listening: nobody else gets the port, and a connect is refused.
    socket.bind(&address.into()).expect("a port");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("an address");
    let report = Load { concurrency: 1, limit: Some(4), ..Load::new(address) }.start().finish();
    assert_only(&report, FailureKind::Refused, 4);
    assert_eq!(report.connections, 0, "{report}");
}

#[test]
fn a_new_connection_for_each_request_rotates_its_source() {
    let server = BadServer::start(&[Deed::AnswerAndAnnounceClose]);
    let load = Load { concurrency: 4, think_time: Duration::ZERO, ..server.load(400).with_new_connections() };
    let report = load.start().finish();
    report.assert_nothing_lost(400);
    assert_eq!(report.connections, 400, "{report}");
}
