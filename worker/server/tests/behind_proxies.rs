//! Connections from proxies: the PROXY header before all else, and header fields that are believed only where they may be.

#![allow(clippy::unwrap_used, reason = "a test that breaks its own rules may panic")]

mod support;

use std::time::Duration;

use support::{
    Metered, Rig,
    apps::{Script, reply},
};
use worker_server::{
    App, ForwardedField, ForwarderField, Forwarding, Peer, Policy, ProxyProtocol, ProxyVersions, RequestHead,
    SecureSchemeField, TimeLimit, TrustedPeer,
};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 9.8.7.6\r\n\r\n";
const LINE: &[u8] = b"PROXY TCP4 1.2.3.4 10.0.0.1 5678 443\r\n";

/// Replies with the client, and the address it reached.
fn tells() -> impl App<Chunk = Vec<u8>> {
    Script(|head: &RequestHead<'_>, exchange| {
        let name = |peer: &Peer| match peer {
            Peer::Tcp(address) => address.to_string(),
            Peer::Unix(path) => format!("{path:?}"),
        };
        let text = format!("{} at {}", name(head.client), name(&head.connection.local));
        reply(&exchange, 200, &[], text.as_bytes());
    })
}

fn peer(address: &str) -> Peer {
    Peer::Tcp(address.parse().unwrap())
}

fn policy(versions: ProxyVersions) -> Policy {
    let balancer = TrustedPeer::Network { address: "10.0.0.0".parse().unwrap(), prefix_bits: 8 };
    Policy {
        forwarding: Forwarding {
            fields: vec![ForwardedField::For],
            secure_scheme: Vec::new(),
            forwarder: Vec::new(),
            from: std::iter::once(balancer).collect(),
        },
        proxy_protocol: ProxyProtocol::Expected { versions, from: std::iter::once(balancer).collect() },
        ..Policy::trusting_nobody()
    }
}

fn from(address: &str) -> Rig<impl App<Chunk = Vec<u8>>> {
    Rig::with_policy(tells(), policy(ProxyVersions::Both), peer(address))
}

#[test]
fn a_trusted_balancer_tells_whose_connection_it_is() {
    let mut rig = from("10.0.0.7:1000");
    rig.send([LINE, REQUEST].concat());
    // The client is no proxy, so what it says of others does not count.
    assert!(rig.received().ends_with("\r\n\r\n1.2.3.4:5678 at 10.0.0.1:443"));
    rig.send(REQUEST);
    assert!(
        rig.received().ends_with("\r\n\r\n1.2.3.4:5678 at 10.0.0.1:443"),
        "as long as the connection lives"
    );
}

#[test]
fn a_header_may_come_in_any_pieces() {
    let binary =
        [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &[1, 2, 3, 4, 10, 0, 0, 1, 22, 46, 1, 187]].concat();
    for header in [LINE, &binary] {
        let mut rig = from("10.0.0.7:1000");
        for byte in header.iter().chain(REQUEST) {
            rig.send([*byte]);
        }
        assert!(rig.received().ends_with("\r\n\r\n1.2.3.4:5678 at 10.0.0.1:443"));
    }
}

#[test]
fn the_balancers_own_connections_are_its_own() {
    let mut rig = from("10.0.0.7:1000");
    rig.send([b"PROXY UNKNOWN\r\n", REQUEST].concat());
    assert!(rig.received().ends_with("\r\n\r\n9.8.7.6:0 at None"));
}

#[test]
fn others_cannot_send_one() {
    let mut rig = from("11.0.0.7:1000");
    rig.send(LINE);
    assert!(rig.received().starts_with("HTTP/1.1 400 "), "it is a malformed request");
    let mut rig = from("11.0.0.7:1000");
    rig.send(REQUEST);
    assert!(rig.received().ends_with("\r\n\r\n11.0.0.7:1000 at None"));
}

#[test]
fn a_connection_without_the_header_is_closed_and_counted() {
    for bytes in [REQUEST, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on"] {
        let mut rig = from("10.0.0.7:1000");
        rig.send(bytes);
        assert!(rig.is_closed());
        assert_eq!(rig.received(), "");
        assert_eq!(rig.ledger.count(&Metered::ProxyHeaderRefused), 1);
        assert_eq!(rig.ledger.count(&Metered::Closed), 1);
    }
}

#[test]
fn a_header_has_the_time_of_a_head() {
    let mut rig = from("10.0.0.7:1000");
    rig.send(&LINE[..20]).pass(Duration::from_secs(9));
    assert!(!rig.is_closed());
    rig.pass(Duration::from_secs(2));
    assert!(rig.is_closed());
    assert_eq!(rig.ledger.count(&Metered::TimedOut(TimeLimit::HeaderRead)), 1);
}

#[test]
fn a_balancer_that_only_knocks_is_no_error() {
    let mut rig = from("10.0.0.7:1000");
    rig.wire.end_input();
    rig.run();
    assert!(rig.is_closed());
    assert_eq!(rig.ledger.count(&Metered::ProxyHeaderRefused), 0);
}

#[test]
fn a_drain_waits_for_a_header_no_longer_than_for_a_request() {
    let mut rig = from("10.0.0.7:1000");
    rig.run();
    assert_eq!(rig.drain.connections(), 1);
    rig.drain.begin(Duration::from_secs(1));
    rig.run();
    assert!(!rig.is_closed());
    rig.send([LINE, REQUEST].concat());
    assert!(rig.received().contains("connection: close\r\n"), "what crosses the drain is answered");

    let mut rig = from("10.0.0.7:1000");
    rig.drain.begin(Duration::from_secs(1));
    rig.run().pass(Duration::from_millis(1_100));
    assert!(rig.is_closed());
    assert_eq!(rig.drain.connections(), 0);
}

#[test]
fn a_cut_closes_at_once() {
    let mut rig = from("10.0.0.7:1000");
    rig.run();
    rig.drain.cut();
    rig.run();
    assert!(rig.is_closed());
}

#[test]
fn identifiers_of_a_request_reach_the_application_untouched() {
    let app = Script(|head: &RequestHead<'_>, exchange| {
        let fields: Vec<String> = head
            .headers
            .iter()
            .map(|header| format!("{}={}", header.name.escape_ascii(), header.value.escape_ascii()))
            .collect();
        reply(&exchange, 200, &[], fields.join("\n").as_bytes());
    });
    let mut rig = Rig::with_policy(app, policy(ProxyVersions::Both), peer("11.0.0.7:1000"));
    rig.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: 7b1-X\r\ntraceparent: 00-0af7-b7ad-01\r\ntracestate: a=b,c=d\r\nX-Forwarded-For: evil\r\n\r\n");
    let received = rig.received();
    let body = received.split("\r\n\r\n").nth(1).unwrap();
    assert_eq!(
        body,
        "host=a\nx-request-id=7b1-X\ntraceparent=00-0af7-b7ad-01\ntracestate=a=b,c=d\nx-forwarded-for=evil"
    );
}

#[test]
fn fields_of_any_name_are_believed_where_the_operator_named_them() {
    let tells_mount = || {
        Script(|head: &RequestHead<'_>, exchange| {
            let prefix = head.prefix.escape_ascii();
            reply(
                &exchange,
                200,
                &[],
                format!("{:?} {prefix} {}", head.scheme, head.prefix_in_path()).as_bytes(),
            );
        })
    };
    let request = "GET /app/a HTTP/1.1\r\nHost: a\r\nFront-End-Https: on\r\nSCRIPT_NAME: /app\r\n\r\n";
    let balancer = TrustedPeer::Network { address: "10.0.0.0".parse().unwrap(), prefix_bits: 8 };
    for (address, expected) in
        [("10.0.0.7:1000", "\r\n\r\nHttps /app 4"), ("11.0.0.7:1000", "\r\n\r\nHttp  0")]
    {
        let secure = SecureSchemeField { name: b"front-end-https".to_vec(), value: b"on".to_vec() };
        let forwarding = Forwarding {
            fields: Vec::new(),
            secure_scheme: vec![secure],
            forwarder: vec![ForwarderField::named(b"script_name")],
            from: std::iter::once(balancer).collect(),
        };
        let policy = Policy { forwarding, ..Policy::trusting_nobody() };
        let mut rig = Rig::with_policy(tells_mount(), policy, peer(address));
        rig.send(request);
        assert!(rig.received().ends_with(expected), "{address}: {}", rig.received());
    }
}
