//! Promise: early hints, trailers and files by path or descriptor are there for ASGI applications, told of where they work and
//! nowhere else, and used by the frameworks that look for them.

use harness::{
    Guest, Machine, Python, Server,
    http::{Connection, Request},
};

fn start(machine: &Machine) -> Option<Server> {
    let python = Python::default_one()?;
    let server = machine.server().guest(Guest::PROBE, &python);
    Some(server.arguments(["--workers", "1", "app:app"]).start())
}

/// All bytes that come for `bytes`, to the connection's end.
fn answer(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut connection = Connection::open(server.address()).expect("a connection");
    connection.send(bytes).expect("sent");
    connection.receive_to_end().expect("an answer and the end")
}

fn text(server: &Server, target: &str, fields: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
    String::from_utf8_lossy(&answer(server, request.as_bytes())).into_owned()
}

/// What `content` in the guest application makes.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 1000 % 251) as u8).collect()
}

#[test]
fn extensions_are_told_of_where_they_work() {
    let machine = Machine::shared();
    let Some(server) = start(&machine) else { return };
    let files = r#""http.response.pathsend", "http.response.zerocopysend""#;
    let hint = r#""http.response.early_hint""#;
    let shown = text(&server, "/show", "");
    assert!(shown.contains(&format!("\"extensions\": [{hint}, {files}]")), "{shown}");
    let shown = text(&server, "/show", "TE: trailers\r\n");
    let all = r#"["http.response.early_hint", "http.response.pathsend", "http.response.trailers", "http.response.zerocopysend"]"#;
    assert!(shown.contains(all), "{shown}");
    let old = answer(&server, b"GET /show HTTP/1.0\r\nTE: trailers\r\n\r\n");
    let old = String::from_utf8_lossy(&old);
    assert!(old.contains(&format!("\"extensions\": [{files}]")), "{old}");
    server.stop();
}

#[test]
fn hints_and_trailers_reach_those_who_take_them() {
    let machine = Machine::shared();
    let Some(server) = start(&machine) else { return };
    let hinted = text(&server, "/hints", "");
    let expected = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nlink: </b.js>; rel=preload\r\n\r\n\
                    HTTP/1.1 103 Early Hints\r\nlink: </c.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\n";
    assert!(hinted.starts_with(expected), "{hinted}");
    assert!(hinted.ends_with("\r\n\r\nok"), "{hinted}");
    let old = answer(&server, b"GET /hints HTTP/1.0\r\n\r\n");
    assert!(old.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&old));

    let trailed = text(&server, "/trailers", "TE: trailers\r\n");
    assert!(
        trailed.ends_with("\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\nx-sum: 1\r\nx-two: b\r\n\r\n"),
        "{trailed}"
    );
    let dropped = text(&server, "/trailers", "");
    assert!(dropped.ends_with("\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"), "{dropped}");
    server.stop();
}

#[test]
fn files_are_sent_whole_and_in_parts() {
    let machine = Machine::shared();
    let Some(server) = start(&machine) else { return };
    let mut connection = Connection::open(server.address()).expect("a connection");
    for length in [0, 1_000, 70_000, 5_000_000] {
        let reply = connection.request(&Request::get(&format!("/path_send/{length}"))).expect("a file");
        assert!(reply.body == content(length), "{length} became {} bytes", reply.body.len());
    }
    let reply = connection.request(&Request::get("/file_send")).expect("parts of a file");
    let whole = content(1_000_000);
    let expected = [b"<".as_slice(), &whole[10..15], &whole[15..300_015], &whole[999_990..], b">"].concat();
    assert!(reply.body == expected, "{} bytes", reply.body.len());
    let reply = connection.request(&Request::get("/bad_file")).expect("an answer");
    assert_eq!(
        reply.text(),
        "FileNotFoundError ValueError KeyError OSError ValueError TypeError TypeError RuntimeError"
    );
    server.stop();
}

#[test]
fn starlette_sends_its_files_by_path() {
    let machine = Machine::shared();
    let Some(server) = start(&machine) else { return };
    let mut connection = Connection::open(server.address()).expect("a connection");
    let reply = connection.request(&Request::get("/file_response")).expect("a file");
    assert_eq!(reply.status, 200);
    assert!(reply.text() == Guest::PROBE.text(), "{}", reply.text());
    let notes = connection.request(&Request::get("/notes")).expect("notes").text();
    assert_eq!(notes, "file response: http.response.start\nfile response: http.response.pathsend\n");
    let range = Request { headers: &[("Range", "bytes=3-11")], ..Request::get("/file_response") };
    let reply = connection.request(&range).expect("a part of it");
    assert_eq!((reply.status, reply.text().as_str()), (206, &Guest::PROBE.text()[3..12]));
    server.stop();
}
