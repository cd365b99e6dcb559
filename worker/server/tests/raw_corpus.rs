//! Raw bytes in, raw bytes out.

mod support;

use support::{Rig, apps};

#[test]
fn smoke() {
    let mut rig = Rig::new(apps::site());
    rig.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(
        rig.received(),
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\nserver: supervise\r\n\r\nhello"
    );
    rig.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(rig.received(), "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nserver: supervise\r\n\r\nabc");
    rig.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    assert_eq!(rig.received(), "");
    rig.send("3\r\ndef\r\n0\r\n\r\n");
    assert_eq!(rig.received(), "HTTP/1.1 200 OK\r\ncontent-length: 6\r\nserver: supervise\r\n\r\nabcdef");
    rig.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(
        rig.received(),
        "HTTP/1.1 200 OK\r\nx-a: b\r\ntransfer-encoding: chunked\r\nserver: supervise\r\n\r\n3\r\none\r\n5\r\nthree\r\n0\r\n\r\n"
    );
    assert!(!rig.is_closed());
}
