//! Promise: each of the 44 probes by which ASGI servers were compared is answered as it should be. One application, one server; a row
//! is a check by name, and all that fail are told of at once.
//!
//! Nine rows are of WebSocket and stand in websocket.rs: cookies and subprotocol on accept, the peer's close code and reason, a
//! close without a code and an abrupt end, bad UTF-8 and unmasked frames, rejection and denial, an application that raises or
//! returns after accept, a subprotocol that nobody offered, the application's close code and reason, and version 12.

mod connections;
mod replies;
mod requests;

use std::{panic::AssertUnwindSafe, time::Duration};

use harness::{
    Guest, Machine, Python, Server,
    http::{self, Connection, Reply, Request},
    processes::Signal,
    wait_until,
};

/// A row: its name, and what is asked of the server.
type Row = (&'static str, fn(&Server));

/// The rows of the reference's table, in its order.
const ROWS: [Row; 34] = [
    ("no Host, two Hosts", requests::hosts),
    ("length with encoding, and a request behind it", requests::length_and_encoding),
    ("lengths that differ or have a sign, and an unknown encoding", requests::lengths),
    ("chunked in HTTP/1.0", requests::chunked_in_http_1_0),
    ("bare LF, folded line, space before colon, NUL", requests::lines),
    ("a large header, many headers, a long target", requests::sizes),
    ("absolute form", requests::absolute_form),
    ("OPTIONS * and CONNECT", requests::options_and_connect),
    ("a chunked upload with a trailer", requests::upload_with_trailer),
    ("HTTP/1.0 without a length", replies::http_1_0_without_length),
    ("HTTP/1.0 kept alive", replies::http_1_0_kept),
    ("HEAD without a length", replies::head_without_length),
    ("204 and 304 with a body", replies::bodiless_statuses),
    ("status 600 and 999", replies::odd_statuses),
    ("a length that is wrong", replies::wrong_lengths),
    ("the application's own framing", replies::own_framing),
    ("the application's own server and date", replies::own_server_and_date),
    ("header injection, and headers of text", replies::bad_headers),
    ("returns nothing, raises before the start", replies::no_reply),
    ("raises after the start", replies::raises_after_start),
    ("raises in the body", replies::raises_in_body),
    ("an unknown message", replies::unknown_message),
    ("sends and receives after the end", replies::after_the_end),
    ("receives twice after the client left, and sends", connections::after_the_client_left),
    ("half-closed client", connections::half_closed),
    ("the client leaves while the application works", connections::gone_while_it_works),
    ("a client that never reads", connections::never_reads),
    ("100 Continue when nobody reads", connections::continue_when_nobody_reads),
    ("an early reply", connections::early_reply),
    ("three pipelined requests", connections::pipelined),
    ("the state of the lifespan", connections::state),
    ("a header that trickles", connections::trickling_header),
    ("a silent connection", connections::silent),
    ("HTTP/1.1 goes on after all of that", connections::still_there),
];

/// How long a head may take on this server.
const HEADER_READ_TIMEOUT: Duration = Duration::from_millis(1_500);

#[test]
fn every_row_is_as_it_should_be() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let server = machine.server().guest(Guest::PROBE, &python);
    let timeout = format!("{}ms", harness::patient(HEADER_READ_TIMEOUT).as_millis());
    let mut server = server.arguments(["--header-read-timeout", &timeout, "app:app"]).start();
    // On threads, since some rows wait: for a time-out, or for an application that takes its time.
    let failed: Vec<_> = std::thread::scope(|scope| {
        let server = &server;
        let rows = ROWS.map(|(name, check)| (name, scope.spawn(move || probe(server, check))));
        rows.into_iter().filter_map(|(name, row)| Some((name, row.join().expect("caught")?))).collect()
    });
    assert!(failed.is_empty(), "{}:\n{failed:#?}\n{}", failed.len(), server.log.text());
    // The last row: an idle server leaves at once, and in good order.
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_exit(Duration::from_secs(10)).code(), Some(0), "SIGTERM");
}

/// Why a row failed, if it did.
fn probe(server: &Server, check: fn(&Server)) -> Option<String> {
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| check(server)));
    let panic = outcome.err()?;
    let text = panic.downcast_ref::<String>().cloned();
    Some(text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
}

fn connect(server: &Server) -> Connection {
    Connection::open(server.address()).expect("a connection")
}

/// The reply to these bytes, and the connection.
fn reply_to(server: &Server, bytes: &[u8]) -> (Reply, Connection) {
    let mut connection = connect(server);
    connection.send(bytes).expect("sent");
    let reply = connection.receive("GET").unwrap_or_else(|error| panic!("{}: {error}", bytes.escape_ascii()));
    (reply, connection)
}

/// All that comes for these bytes, to the connection's end.
fn all_for(server: &Server, bytes: &[u8]) -> String {
    let mut connection = connect(server);
    connection.send(bytes).expect("sent");
    String::from_utf8_lossy(&connection.receive_to_end().expect("the end")).into_owned()
}

/// The request is refused with one of these statuses, and nothing behind it is served.
fn refused(server: &Server, bytes: &[u8], statuses: &[u16]) {
    let all = all_for(server, &[bytes, b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
    let named = statuses.iter().any(|status| all.starts_with(&format!("HTTP/1.1 {status} ")));
    assert!(named, "{} was answered {all}", bytes.escape_ascii());
    assert_eq!(all.matches("HTTP/1.1 ").count(), 1, "{} was answered {all}", bytes.escape_ascii());
}

/// The connection is in step: it serves another request.
fn goes_on(connection: &mut Connection) {
    let reply = connection.request(&Request::get("/unread")).expect("the connection goes on");
    assert_eq!((reply.status, reply.text().as_str()), (200, "unread"));
}

fn get(server: &Server, target: &str) -> std::io::Result<Reply> {
    http::get(server.address(), target)
}

/// Waits until the application noted this.
fn wait_for_note(server: &Server, note: &str) {
    wait_until(&format!("the note {note:?}"), Duration::from_secs(10), || {
        get(server, "/notes").expect("notes").text().contains(note)
    });
}
