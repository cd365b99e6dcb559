//! Rows of the probe table about connections: clients that leave, wait, trickle or never read.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use harness::{Server, http::Request, observe_for, wait_until};
use socket2::{Domain, Socket, Type};

use super::{HEADER_READ_TIMEOUT, connect, get, goes_on, reply_to, wait_for_note};

pub(super) fn after_the_client_left(server: &Server) {
    let mut connection = connect(server);
    connection.send(&Request::get("/until_gone").bytes()).expect("sent");
    wait_for_note(server, "waiting");
    drop(connection);
    // The version of the specification that is told, 2.3, wants silence of a send to nobody.
    wait_for_note(server, "gone: http.disconnect http.disconnect silent");
}

/// By default a client that closes its sending side has left; options.rs has the other choice.
pub(super) fn half_closed(server: &Server) {
    let mut stream = TcpStream::connect(server.address()).expect("a connection");
    stream.write_all(&Request::get("/slow/300").bytes()).expect("sent");
    stream.shutdown(Shutdown::Write).expect("half closed");
    let mut all = Vec::new();
    let _reset = stream.read_to_end(&mut all);
    assert_eq!(all, b"");
    // What was complete before is on its way all the same.
    let mut stream = TcpStream::connect(server.address()).expect("a connection");
    stream.write_all(&Request::get("/unread").bytes()).expect("sent");
    let mut first = [0; 1];
    stream.read_exact(&mut first).expect("the reply begins");
    stream.shutdown(Shutdown::Write).expect("half closed");
    stream.read_to_end(&mut all).expect("the reply ends");
    assert!(all.ends_with(b"\r\n\r\nunread"), "{}", all.escape_ascii());
}

/// By default the application goes on; whoever waits in receive() is told.
pub(super) fn gone_while_it_works(server: &Server) {
    let mut connection = connect(server);
    connection.send(&Request::get("/slow/700").bytes()).expect("sent");
    wait_for_note(server, "slow begun");
    drop(connection);
    wait_for_note(server, "slow finished");
}

pub(super) fn never_reads(server: &Server) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    // Before it connects, so that the kernel does not let it grow.
    socket.set_recv_buffer_size(64 * 1024).expect("a small buffer");
    socket.connect(&server.address().into()).expect("a connection");
    let mut stream = TcpStream::from(socket);
    stream.write_all(&Request::get("/flood").bytes()).expect("sent");
    let notes = || {
        let text = get(server, "/notes").expect("notes").text();
        text.lines().filter_map(|line| line.strip_prefix("flood ")?.parse::<u64>().ok()).max()
    };
    wait_until("the flood", Duration::from_secs(10), || notes().is_some());
    let mut last = None;
    wait_until("the flood to stop", Duration::from_secs(20), || {
        let now = notes();
        let mut is_still = true;
        observe_for(Duration::from_millis(200), || is_still &= notes() == now);
        std::mem::replace(&mut last, now) == now && is_still
    });
    // The kernel's buffer of the sending side takes up to four megabytes; the worker itself holds next to nothing.
    let sent_bytes = last.unwrap_or_default() * 65_536;
    assert!(sent_bytes < 6 * 1024 * 1024, "{sent_bytes} bytes got rid of");
}

pub(super) fn continue_when_nobody_reads(server: &Server) {
    let head =
        b"POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n".as_slice();
    let mut connection = connect(server);
    connection.send(head).expect("sent");
    let all = connection.receive_to_end().expect("the reply and the end");
    assert!(all.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", all.escape_ascii());
    // Nobody knows whether the body comes: the connection ends.
    assert!(String::from_utf8_lossy(&all).contains("connection: close\r\n"));
    let mut reads = connect(server);
    reads.send(&[&head[..6], b"show", &head[12..]].concat()).expect("sent");
    reads.receive_until(b"HTTP/1.1 100 Continue\r\n\r\n").expect("the body is asked for");
    reads.send(b"hello").expect("sent");
    assert!(reads.receive("POST").expect("an answer").text().contains(r#""body": "hello""#));
    goes_on(&mut reads);
}

pub(super) fn early_reply(server: &Server) {
    let head = b"POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n";
    let (reply, _) = reply_to(server, head);
    assert_eq!((reply.status, reply.text().as_str()), (200, "unread"));
}

pub(super) fn pipelined(server: &Server) {
    let mut connection = connect(server);
    let requests: Vec<u8> =
        ["/slow/50", "/unread", "/show"].iter().flat_map(|target| Request::get(target).bytes()).collect();
    connection.send(&requests).expect("sent");
    let mut next = || connection.receive("GET").expect("an answer").text();
    assert_eq!((next().as_str(), next().as_str()), ("slow", "unread"));
    assert!(next().contains(r#""path": "/show""#));
}

pub(super) fn state(server: &Server) {
    let first = get(server, "/state").expect("an answer").text();
    assert_eq!(first, r#"{"plain": "first", "shared": 0}"#);
    // The dict is each request's own, what it holds is not.
    let second = get(server, "/state").expect("an answer").text();
    assert_eq!(second, r#"{"plain": "first", "shared": 1}"#);
}

pub(super) fn trickling_header(server: &Server) {
    let mut stream = TcpStream::connect(server.address()).expect("a connection");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").expect("sent");
    let mut trickling = stream.try_clone().expect("a second handle");
    let is_answered = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // To the answer and beyond: a line that bought time for the next would never be answered.
        scope.spawn(|| {
            wait_until("the answer to a trickling client", HEADER_READ_TIMEOUT * 6, || {
                observe_for(HEADER_READ_TIMEOUT / 15, || ());
                // The line that comes after the close is the client's own affair.
                let _closed = trickling.write_all(b"X: y\r\n");
                is_answered.load(Ordering::Relaxed)
            });
        });
        let mut status_line = [0; 13];
        let came = stream.read_exact(&mut status_line);
        is_answered.store(true, Ordering::Relaxed);
        came.expect("an answer");
        assert_eq!(status_line.escape_ascii().to_string(), "HTTP/1.1 408 ");
    });
}

pub(super) fn silent(server: &Server) {
    let begun = Instant::now();
    let mut connection = connect(server);
    assert_eq!(connection.receive_to_end().expect("a proper end"), b"");
    assert!(begun.elapsed() >= HEADER_READ_TIMEOUT, "closed after {:?}", begun.elapsed());
}

pub(super) fn still_there(server: &Server) {
    goes_on(&mut connect(server));
}
