//! Promise: Flask and Django over WSGI answer as under gunicorn, byte for byte where both say something.

use harness::{
    Guest, Machine, Python,
    http::{Connection, Reply, Request},
};

use crate::side_by_side::Gunicorn;

/// Header fields that each server writes in its own way.
const OWN_FIELDS: [&str; 4] = ["date", "server", "connection", "transfer-encoding"];

const FORM: &str = "one=1&two=%C3%A9";
const UPLOAD: &str = "--b\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nvalue\r\n--b\r\nContent-Disposition: form-data; \
                      name=\"file\"; filename=\"f.txt\"\r\nContent-Type: text/plain\r\n\r\ncontent\r\n--b--\r\n";

fn requests() -> Vec<Request<'static>> {
    let get = |target| Request::get(target);
    let post = |target, headers, body| Request { method: "POST", target, headers, body };
    vec![
        get("/"),
        get("/items/42?q=hello&r=%C3%A9"),
        get("/no/such/route"),
        get("/headers"),
        Request { headers: &[("X-One", "1"), ("X-One", "2"), ("X-Other", "caf\u{e9}")], ..get("/headers") },
        get("/stream"),
        get("/file"),
        get("/memory"),
        get("/cookies"),
        get("/redirect"),
        get("/crash"),
        Request { method: "HEAD", ..get("/") },
        Request { method: "OPTIONS", ..get("/") },
        Request { method: "DELETE", ..get("/") },
        post("/digest", &[], b"some bytes"),
        post("/digest", &[("Expect", "100-continue")], b"some bytes"),
        post("/json", &[("Content-Type", "application/json")], b"{\"a\": [1, 2]}"),
        post("/json", &[("Content-Type", "application/json")], b"{broken"),
        post("/form", &[("Content-Type", "application/x-www-form-urlencoded")], FORM.as_bytes()),
        post("/form", &[("Content-Type", "multipart/form-data; boundary=b")], UPLOAD.as_bytes()),
    ]
}

/// What must be equal.
fn comparable(reply: &Reply) -> (u16, Vec<(String, String)>, String) {
    let mut fields: Vec<(String, String)> = reply
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .filter(|(name, _)| !OWN_FIELDS.contains(&name.as_str()))
        .collect();
    // A length that only one of them counts says nothing about the body.
    fields.retain(|(name, _)| name != "content-length");
    fields.sort();
    (reply.status, fields, reply.text())
}

fn answers_as_gunicorn(guest: Guest, target: &str) {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    for class in ["sync", "threads"] {
        // The order of sets shows in the Allow field.
        let server = machine.server().guest(guest, &python).environment("PYTHONHASHSEED", "0");
        let server = server.arguments(["--worker-class", class, target]).start();
        let Some(gunicorn) = Gunicorn::start(&python, &server, target) else {
            eprintln!("MISSING gunicorn in the test environment of this Python: not compared");
            return;
        };
        for request in requests() {
            let ask = |address| {
                let mut connection = Connection::open(address).expect("a connection");
                connection.request(&request).unwrap_or_else(|error| panic!("{request:?}: {error}"))
            };
            let (ours, theirs) = (ask(server.address()), ask(gunicorn.address));
            assert_eq!(comparable(&ours), comparable(&theirs), "{class}: {request:?}");
        }
        server.stop();
    }
}

#[test]
fn flask() {
    answers_as_gunicorn(Guest::FLASK, "app:app");
}

#[test]
fn django() {
    answers_as_gunicorn(Guest::DJANGO, "app:wsgi");
}
