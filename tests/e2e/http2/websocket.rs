//! A WebSocket in a stream, by a client that goes on after it was told to go: what its application sees of it, and what a reload tells.

use std::{sync::mpsc, time::Duration};

use bytes::Bytes;
use h2::{RecvStream, SendStream, client, ext::Protocol};
use harness::{Guest, Machine, Python, Reloaded, patient};
use http::{Method, Request};
use tokio::{net::TcpStream, task::LocalSet, time::timeout};

use super::LIMIT;

/// A text of the server in one short frame, and the code with which it closes (RFC 6455 §5.2, §7.4).
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const SERVICE_RESTART: u16 = 1012;

/// The WebSocket of a path, accepted with 200.
struct Socket {
    sending: SendStream<Bytes>,
    receiving: RecvStream,
    unread: Vec<u8>,
}

impl Socket {
    async fn open(address: std::net::SocketAddr, path: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        let (mut sender, connection) = client::handshake(stream).await.expect("HTTP/2");
        tokio::task::spawn_local(connection);
        while !sender.is_extended_connect_protocol_enabled() {
            sender = sender.ready().await.expect("a connection");
            tokio::task::yield_now().await;
        }
        let request = Request::builder()
            .method(Method::CONNECT)
            .uri(format!("http://localhost{path}"))
            .header("sec-websocket-version", "13")
            .extension(Protocol::from_static("websocket"))
            .body(())
            .expect("a request");
        let (response, sending) = sender.send_request(request, false).expect("it can be sent");
        let response = response.await.expect("a reply");
        assert_eq!(response.status(), 200);
        Self { sending, receiving: response.into_body(), unread: Vec::new() }
    }

    /// The next frame, all of which are short here: its first byte and its payload.
    async fn next(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let [first, length, payload @ ..] = &self.unread[..]
                && *length < 126
                && payload.len() >= usize::from(*length)
            {
                let frame = (*first, payload[..usize::from(*length)].to_vec());
                self.unread.drain(..2 + usize::from(*length));
                return frame;
            }
            if let [_, 126, high, low, payload @ ..] = &self.unread[..]
                && payload.len() >= usize::from(u16::from_be_bytes([*high, *low]))
            {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                let frame = (self.unread[0], payload[..length].to_vec());
                self.unread.drain(..4 + length);
                return frame;
            }
            let data = self.receiving.data().await.expect("more").expect("a sound stream");
            self.receiving.flow_control().release_capacity(data.len()).expect("it is held");
            self.unread.extend_from_slice(&data);
        }
    }

    /// Answers a close, under a mask of zeros.
    fn close(&mut self, payload: &[u8]) {
        let length = 0x80 | u8::try_from(payload.len()).expect("a short payload");
        let frame = [&[CLOSE, length, 0, 0, 0, 0], payload].concat();
        self.sending.send_data(frame.into(), true).expect("it can be sent");
    }
}

/// Runs a client to its end.
fn run<T>(client: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    let limited = async { timeout(patient(2 * LIMIT), client).await.expect("the client ends") };
    LocalSet::new().block_on(&runtime, limited)
}

#[test]
fn the_scope_of_a_websocket_says_the_version() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let server = machine.server().guest(Guest::WEBSOCKET, &python).arguments(["app:app"]).start();
    let address = server.address();
    let (first, scope) = run(async { Socket::open(address, "/tell").await.next().await });
    let scope = String::from_utf8(scope).expect("text");
    assert_eq!(first, TEXT);
    assert!(
        scope.contains("\"type\": \"websocket\"") && scope.contains("\"http_version\": \"2\""),
        "{scope}"
    );
    server.stop();
}

#[test]
fn a_reload_tells_each_websocket_1012_after_its_application_had_its_chance() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let server = machine.server().guest(Guest::WEBSOCKET, &python).arguments(["app:app"]).start();
    let address = server.address();
    let (opened, is_open) = mpsc::channel();
    let client = std::thread::spawn(move || {
        run(async {
            let mut socket = Socket::open(address, "/farewell").await;
            opened.send(()).expect("the test waits");
            let farewell = socket.next().await;
            let (first, payload) = socket.next().await;
            socket.close(&payload);
            // The stream ends, too.
            while let Some(data) = socket.receiving.data().await {
                assert!(data.expect("a sound stream").is_empty());
            }
            (farewell, first, payload)
        })
    });
    is_open.recv_timeout(patient(LIMIT)).expect("the WebSocket opens");
    assert_eq!(server.reload(), Reloaded::Ok);
    let (farewell, first, payload) = client.join().expect("the client holds");
    assert_eq!(farewell, (TEXT, b"farewell 1012".to_vec()));
    assert_eq!((first, &payload[..2]), (CLOSE, &SERVICE_RESTART.to_be_bytes()[..]));
    server.stop();
}

/// Long enough for a client that is there, and short for a test.
const PINGS: [&str; 4] = ["--http2-ping-interval", "200ms", "--http2-ping-timeout", "300ms"];

#[test]
fn a_client_that_answers_pings_stays_and_one_that_is_gone_does_not() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let server = machine.server().guest(Guest::WEBSOCKET, &python);
    let server = server.arguments(PINGS).arguments(["app:app"]).start();
    let address = server.address();
    let timed_out =
        || server.metrics().sum("supervise_http_requests_rejected_total", &[("reason", "ping_timeout")]);
    // It hears of nothing for several times the limit while it is driven, then its thread is with something else.
    run(async {
        let mut socket = Socket::open(address, "/echo").await;
        let silence = patient(Duration::from_millis(1_500));
        assert!(timeout(silence, socket.next()).await.is_err(), "nothing is said");
        assert_eq!(timed_out(), 0.0);
        harness::wait_until("the silent client to be given up", LIMIT, || timed_out() == 1.0);
    });
    assert!(!server.log.text().contains("PING"), "its answers are no news: {}", server.log.text());
    server.stop();
}
