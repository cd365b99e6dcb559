//! The load client against servers that misbehave: every failure is counted, by its kind, and nothing is retried.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread::JoinHandle,
    time::Duration,
};

use super::{Client, Exchange, Expected, Failure, Failures, Outcome, Pace, Waiting, run_new_connections};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
const CONNECTIONS: usize = 4;
const SHORT: Duration = Duration::from_millis(80);

/// What the bad server does with one request.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Reply(&'static [u8]),
    /// Sends this and closes.
    Leave(&'static [u8]),
    /// Closes with the request unread, which makes the kernel send a reset.
    Reset,
    Silence,
}

struct BadServer {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl BadServer {
    /// Does `first` with each connection's first requests, `good` of them, and `then` with all others.
    fn start(connections: usize, good: usize, then: Deed) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let accepting = std::thread::spawn(move || {
            let served: Vec<_> = (0..connections)
                .map(|_| {
                    let (stream, _) = listener.accept().expect("a connection");
                    std::thread::spawn(move || misbehave(stream, good, then))
                })
                .collect();
            for connection in served {
                connection.join().expect("the bad server does not panic");
            }
        });
        BadServer { address, accepting }
    }

    fn exchange(&self) -> Exchange {
        Exchange {
            address: self.address,
            opening: None,
            request: REQUEST.to_vec(),
            expected: Expected::Body(b"hi".to_vec()),
            patience: Duration::from_millis(400),
        }
    }
}

fn misbehave(mut stream: TcpStream, good: usize, then: Deed) {
    let mut buffer = [0; 4096];
    for request in 0.. {
        let deed = if request < good { Deed::Reply(REPLY) } else { then };
        if matches!(deed, Deed::Reset) {
            // Wait until there is something to leave unread.
            if stream.peek(&mut buffer).unwrap_or(0) > 0 {
                return;
            }
        }
        if stream.read(&mut buffer).unwrap_or(0) == 0 {
            return;
        }
        match deed {
            Deed::Reply(reply) => stream.write_all(reply).unwrap_or_default(),
            Deed::Leave(last_words) => {
                stream.write_all(last_words).unwrap_or_default();
                return;
            }
            Deed::Silence | Deed::Reset => {}
        }
    }
}

fn closed_loop(good: usize, then: Deed) -> Outcome {
    let server = BadServer::start(CONNECTIONS, good, then);
    let mut client =
        Client::connect(server.exchange(), CONNECTIONS, Waiting::Asleep).expect("the bad server listens");
    let outcome = client.run(Pace::Closed, SHORT).expect("the client itself does not fail");
    drop(client);
    server.accepting.join().expect("the bad server ends");
    outcome
}

fn only(failure: Failure, count: u64) -> Failures {
    let mut failures = Failures::default();
    for _ in 0..count {
        failures.count(failure);
    }
    failures
}

#[test]
fn a_good_server_is_counted_without_failures() {
    let outcome = closed_loop(0, Deed::Reply(REPLY));
    assert_eq!(outcome.failures, Failures::default());
    assert!(outcome.completed > 100, "only {} answers", outcome.completed);
    assert_eq!(outcome.latencies_ns.len() as u64, outcome.completed);
    assert_eq!(outcome.announced_closes, 0);
}

#[test]
fn each_way_to_fail_is_counted_by_its_kind_once_a_connection() {
    let cases: [(Deed, Failure); 8] = [
        (Deed::Leave(b""), Failure::EndBeforeReply),
        (Deed::Leave(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nh"), Failure::EndInReply),
        (Deed::Reset, Failure::Reset),
        (Deed::Silence, Failure::TimedOut),
        (Deed::Reply(b"HTTP/1.1 500 no\r\ncontent-length: 2\r\n\r\nhi"), Failure::WrongStatus),
        (Deed::Reply(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nho"), Failure::WrongBody),
        (Deed::Reply(b"nonsense\r\n\r\n"), Failure::Malformed),
        (Deed::Reply(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi!"), Failure::Unasked),
    ];
    for (deed, failure) in cases {
        let outcome = closed_loop(3, deed);
        assert_eq!(outcome.failures, only(failure, CONNECTIONS as u64), "{deed:?}");
        assert_eq!(outcome.completed, 3 * CONNECTIONS as u64, "{deed:?}: the answers before it count");
    }
}

#[test]
fn an_announced_close_is_no_failure_but_is_counted() {
    let reply = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi";
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let accepting = std::thread::spawn(move || {
        // Two connections: the one of the start, the one after the announced close, which stays silent.
        for deed in [Deed::Leave(reply), Deed::Silence] {
            let (stream, _) = listener.accept().expect("a connection");
            misbehave(stream, 0, deed);
        }
    });
    let exchange = Exchange {
        address,
        opening: None,
        request: REQUEST.to_vec(),
        expected: Expected::Body(b"hi".to_vec()),
        patience: Duration::from_millis(400),
    };
    let mut client = Client::connect(exchange, 1, Waiting::Asleep).expect("it listens");
    let outcome = client.run(Pace::Closed, SHORT).expect("the client itself does not fail");
    drop(client);
    accepting.join().expect("the bad server ends");
    assert_eq!((outcome.completed, outcome.announced_closes), (1, 1));
    assert_eq!(outcome.failures, only(Failure::TimedOut, 1));
}

#[test]
fn a_paced_run_keeps_its_rate_awake_and_asleep() {
    for waiting in [Waiting::Awake, Waiting::Asleep] {
        let server = BadServer::start(CONNECTIONS, 0, Deed::Reply(REPLY));
        let mut client = Client::connect(server.exchange(), CONNECTIONS, waiting).expect("it listens");
        let pace = Pace::Open { rate: 500 };
        let outcome = client.run(pace, Duration::from_millis(400)).expect("the client itself does not fail");
        drop(client);
        server.accepting.join().expect("the server ends");
        assert_eq!(outcome.failures, Failures::default());
        assert_eq!(outcome.completed, 200, "500 a second for 0.4 s, {waiting:?}");
    }
}

#[test]
fn a_paced_run_ends_when_every_connection_is_dead() {
    let server = BadServer::start(CONNECTIONS, 2, Deed::Leave(b""));
    let mut client = Client::connect(server.exchange(), CONNECTIONS, Waiting::Asleep).expect("it listens");
    let pace = Pace::Open { rate: 500 };
    let outcome = client.run(pace, Duration::from_secs(60)).expect("the client itself does not fail");
    drop(client);
    server.accepting.join().expect("the server ends");
    assert_eq!(outcome.failures, only(Failure::EndBeforeReply, CONNECTIONS as u64));
    assert_eq!(outcome.completed, 2 * CONNECTIONS as u64);
}

#[test]
fn new_connections_count_refusals_and_truncated_answers() {
    let gone = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = gone.local_addr().expect("an address");
    drop(gone);
    let exchange = Exchange {
        address,
        opening: None,
        request: REQUEST.to_vec(),
        expected: Expected::Body(b"hi".to_vec()),
        patience: Duration::from_millis(400),
    };
    let outcome = run_new_connections(&exchange, 1, Waiting::Asleep, Duration::ZERO)
        .expect("the client itself does not fail");
    assert_eq!(outcome.failures, only(Failure::Refused, 1));

    for (last_words, completed, failures) in
        [(REPLY, 2, Failures::default()), (&REPLY[..REPLY.len() - 1], 0, only(Failure::EndInReply, 2))]
    {
        let server = BadServer::start(2, 0, Deed::Leave(last_words));
        let outcome = run_new_connections(&server.exchange(), 2, Waiting::Awake, Duration::ZERO)
            .expect("the client itself does not fail");
        server.accepting.join().expect("the server ends");
        assert_eq!((outcome.completed, outcome.failures), (completed, failures));
    }
}
