//! Rows of the probe table about replies: how they are framed, and what becomes of the ones that an application gets wrong.

use harness::{Server, http::Request};

use super::{all_for, connect, get, goes_on, reply_to, wait_for_note};

pub(super) fn http_1_0_without_length(server: &Server) {
    // Asking to keep the connection changes nothing: its end is the only end that this body has.
    for asked in ["", "Connection: keep-alive\r\n"] {
        let all = all_for(server, format!("GET /without_length HTTP/1.0\r\n{asked}\r\n").as_bytes());
        let head = all.to_ascii_lowercase();
        assert!(!head.contains("transfer-encoding") && !head.contains("keep-alive"), "{asked:?}: {all}");
        assert!(all.ends_with("\r\n\r\nonetwo"), "{asked:?}: {all}");
    }
}

pub(super) fn http_1_0_kept(server: &Server) {
    let mut connection = connect(server);
    for _ in 0..3 {
        connection.send(b"GET /unread HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").expect("sent");
        let reply = connection.receive("GET").expect("an answer on the same connection");
        assert_eq!(reply.header("connection"), Some("keep-alive"));
    }
}

pub(super) fn head_without_length(server: &Server) {
    let mut connection = connect(server);
    for target in ["/without_length", "/status/200", "/unread"] {
        let reply = connection.request(&Request { method: "HEAD", ..Request::get(target) }).expect("a head");
        assert_eq!(reply.status, 200, "{target}");
        goes_on(&mut connection);
    }
}

pub(super) fn bodiless_statuses(server: &Server) {
    let mut connection = connect(server);
    for status in [204, 304] {
        let reply = connection.request(&Request::get(&format!("/status/{status}"))).expect("an answer");
        assert_eq!(reply.status, status);
        assert_eq!(reply.header("transfer-encoding"), None);
        assert_eq!(reply.header("content-length"), None, "{status}: no length of a body that is not there");
        goes_on(&mut connection);
    }
    let reply = connection.request(&Request::get("/status/205")).expect("an answer");
    assert_eq!((reply.status, reply.body.as_slice()), (205, b"".as_slice()));
    goes_on(&mut connection);
}

pub(super) fn odd_statuses(server: &Server) {
    for status in [600, 999] {
        let reply = get(server, &format!("/status/{status}")).expect("an answer");
        assert_eq!((reply.status, reply.text().as_str()), (status, "BBB"));
    }
}

pub(super) fn wrong_lengths(server: &Server) {
    // Found out before anything was sent.
    for announced in [9, 3] {
        assert_eq!(get(server, &format!("/announced/{announced}")).expect("an answer").status, 500);
        wait_for_note(server, &format!("announced {announced}: RuntimeError"));
    }
    assert_eq!(get(server, "/announced/5").expect("an answer").text(), "12345");
    // When the head is out already, the connection ends, before any byte beyond what was announced.
    for announced in [9, 3] {
        let request = format!("GET /announced_in_parts/{announced} HTTP/1.1\r\nHost: a\r\n\r\n");
        let all = all_for(server, &[request.as_bytes(), &Request::get("/unread").bytes()].concat());
        let length = format!("\r\ncontent-length: {announced}\r\n");
        assert!(all.starts_with("HTTP/1.1 200 OK\r\n") && all.contains(&length), "{announced}: {all}");
        assert!(all.ends_with("\r\n\r\n12"), "{announced} was answered {all}");
        wait_for_note(server, &format!("announced in parts {announced}: RuntimeError"));
    }
}

pub(super) fn own_framing(server: &Server) {
    let (reply, mut connection) = reply_to(server, b"GET /own_framing HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(reply.header("transfer-encoding"), None);
    assert_eq!((reply.header("content-length"), reply.text().as_str()), (Some("2"), "ok"));
    goes_on(&mut connection);
}

pub(super) fn own_server_and_date(server: &Server) {
    let reply = get(server, "/own_framing").expect("an answer");
    for (name, value) in [("server", "mine"), ("date", "today")] {
        let all: Vec<_> = reply.headers.iter().filter(|(held, _)| held == name).collect();
        assert!(matches!(all[..], [(_, only)] if only == value), "{all:?}");
    }
}

pub(super) fn bad_headers(server: &Server) {
    for how in ["crlf", "text", "name", "vertical_tab"] {
        let reply = get(server, &format!("/bad_header/{how}")).expect("an answer");
        assert_eq!(reply.status, 500, "{how}");
        assert_eq!(reply.header("x-injected"), None, "{how}");
    }
}

pub(super) fn no_reply(server: &Server) {
    for how in ["nothing", "raise"] {
        assert_eq!(get(server, &format!("/misbehave/{how}")).expect("an answer").status, 500, "{how}");
    }
}

pub(super) fn raises_after_start(server: &Server) {
    assert_eq!(get(server, "/misbehave/raise_after_start").expect("an answer").status, 500);
}

pub(super) fn raises_in_body(server: &Server) {
    for how in ["raise_in_body", "return_in_body"] {
        let request = format!("GET /misbehave/{how} HTTP/1.1\r\nHost: a\r\n\r\n");
        let all = all_for(server, request.as_bytes());
        assert!(all.ends_with("\r\n4\r\npart\r\n"), "{how} ended as if it were whole: {all}");
    }
}

pub(super) fn unknown_message(server: &Server) {
    assert_eq!(get(server, "/misbehave/unknown_message").expect("an answer").text(), "RuntimeError");
}

pub(super) fn after_the_end(server: &Server) {
    assert_eq!(get(server, "/after_the_end").expect("an answer").text(), "whole");
    wait_for_note(server, "after the end: http.disconnect http.disconnect ignored");
}
