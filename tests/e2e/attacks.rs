//! Promise: who attacks a server wears out neither it nor its other clients. Beside each attack other clients lose no request, and
//! their p99 stays within twice what it is beside a harmless load that costs its sender as much processor time; memory stays under the
//! bound that the test states; and what was refused is counted by its reason.

mod attackers;
mod frames;
mod measure;

use std::{net::SocketAddr, time::Duration};

use attackers::{Bombs, Deaf, Drips, Flood, Idlers, Piece};
use measure::{Attack, Attacker};

/// Connections of an attack by waiting.
const SLOW_CONNECTIONS: usize = 200;
/// What a connection in the middle of a request may take: one buffer to read into.
const SLOW_CONNECTION_KIB: u64 = 16;
const SLOW_KIB: u64 = SLOW_CONNECTIONS as u64 * SLOW_CONNECTION_KIB;
/// Idle connections in CI; the promise is for the full number.
const IDLE_CONNECTIONS: usize = 2_000;
const IDLE_CONNECTIONS_IN_FULL: usize = 10_000;
/// What one idle connection may take: its state in the engine and its entry in the event loop. It holds no buffer.
const IDLE_CONNECTION_BYTES: usize = 2 * 1024;
/// What is sent against a limit of 10 MiB, in CI and in full.
const UPLOAD_BYTES: usize = 64 * 1024 * 1024;
const UPLOAD_BYTES_IN_FULL: usize = 1024 * 1024 * 1024;
const UPLOAD_PIECE_BYTES: usize = 1024 * 1024;

/// Whether the promise is played in full, which takes descriptors and time that not every machine has.
fn in_full() -> bool {
    std::env::var_os("SUPERVISE_TEST_FULL").is_some_and(|value| value == "1")
}

fn once(bytes: impl AsRef<[u8]>) -> Piece {
    Piece { bytes: bytes.as_ref().to_vec(), times: 1 }
}

#[test]
fn heads_that_never_end() {
    fn begin(address: SocketAddr) -> Box<dyn Attacker> {
        Box::new(Drips::new(address, SLOW_CONNECTIONS, "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ", b"a"))
    }
    let attack = Attack {
        arguments: &["--header-read-timeout", "300ms"],
        rejected_for: &["header_timeout"],
        held_kib: SLOW_KIB,
        ..Attack::new("slow heads", begin)
    };
    attack.is_withstood();
}

#[test]
fn bodies_that_never_come() {
    fn begin(address: SocketAddr) -> Box<dyn Attacker> {
        let opening = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegun";
        Box::new(Drips::new(address, SLOW_CONNECTIONS, opening, b""))
    }
    let attack = Attack {
        arguments: &["--body-read-timeout", "300ms"],
        rejected_for: &["body_timeout"],
        held_kib: SLOW_KIB,
        ..Attack::new("stalled bodies", begin)
    };
    attack.is_withstood();
}

#[test]
fn bodies_byte_by_byte() {
    fn begin(address: SocketAddr) -> Box<dyn Attacker> {
        let opening = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
        Box::new(Drips::new(address, SLOW_CONNECTIONS, opening, b"a"))
    }
    let attack = Attack {
        // Each drip is progress; the usual bound of the pace ends it, after five seconds.
        arguments: &["--body-read-timeout", "500ms"],
        rejected_for: &["body_too_slow"],
        held_kib: SLOW_KIB,
        ..Attack::new("dripped bodies", begin)
    };
    attack.is_withstood();
}

#[test]
fn thousands_of_idle_connections() {
    fn wanted() -> usize {
        // The server's side of a connection is in another process.
        let most =
            usize::try_from(measure::raise_descriptor_limit()).unwrap_or(usize::MAX).saturating_sub(500);
        let wanted = if in_full() { IDLE_CONNECTIONS_IN_FULL } else { IDLE_CONNECTIONS };
        assert!(wanted <= most, "{wanted} connections need more descriptors than {most}");
        wanted
    }
    fn begin(address: SocketAddr) -> Box<dyn Attacker> {
        let mut idlers = Idlers { address, wanted: wanted(), streams: Vec::new() };
        // All of them are there while others are timed.
        while idlers.streams.len() < idlers.wanted {
            let _ = idlers.step();
        }
        Box::new(idlers)
    }
    let attack = Attack {
        // More than come, so that the others are not among those who wait.
        arguments: &["--worker-connections", "20000"],
        held_kib: (wanted() * IDLE_CONNECTION_BYTES / 1024) as u64,
        ..Attack::new("idle connections", begin)
    };
    attack.is_withstood();
}

#[test]
fn heads_of_thousands_of_fields_and_megabytes() {
    fn begin(address: SocketAddr) -> Box<dyn Attacker> {
        let start = once("GET / HTTP/1.1\r\nHost: a\r\n");
        let bombs = vec![
            vec![start.clone(), once("X: y\r\n".repeat(8_000)), once("\r\n")],
            vec![start, once("X: "), once(vec![b'a'; 1024 * 1024]), once("\r\n\r\n")],
        ];
        Box::new(Bombs { address, bombs, next: 0 })
    }
    let attack = Attack { rejected_for: &["header_too_large"], ..Attack::new("bombs of fields", begin) };
    attack.is_withstood();
}

#[test]
fn floods_of_chunk_extensions_and_trailers() {
    fn begin(address: SocketAddr) -> Box<dyn Attacker> {
        let start = once("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        let bombs = vec![
            vec![start.clone(), once("1"), Piece { bytes: ";a=b".repeat(4_096).into_bytes(), times: 64 }],
            vec![start.clone(), Piece { bytes: "1;a=b\r\nx\r\n".repeat(1_024).into_bytes(), times: 64 }],
            vec![start, once("0\r\n"), Piece { bytes: "X: y\r\n".repeat(1_024).into_bytes(), times: 64 }],
        ];
        Box::new(Bombs { address, bombs, next: 0 })
    }
    let attack =
        Attack { rejected_for: &["bad_request"], ..Attack::new("chunk extensions and trailers", begin) };
    attack.is_withstood();
}

#[test]
fn uploads_far_beyond_the_limit() {
    fn begin(address: SocketAddr) -> Box<dyn Attacker> {
        let length = if in_full() { UPLOAD_BYTES_IN_FULL } else { UPLOAD_BYTES };
        let times = length / UPLOAD_PIECE_BYTES;
        let plain = Piece { bytes: vec![b'x'; UPLOAD_PIECE_BYTES], times };
        let mut chunk = format!("{UPLOAD_PIECE_BYTES:x}\r\n").into_bytes();
        chunk.extend_from_slice(&plain.bytes);
        chunk.extend_from_slice(b"\r\n");
        let chunked = Piece { bytes: chunk, times };
        let mut bombs = Vec::new();
        for expectation in ["", "Expect: 100-continue\r\n"] {
            let start = format!("POST / HTTP/1.1\r\nHost: a\r\n{expectation}");
            bombs.push(vec![once(format!("{start}Content-Length: {length}\r\n\r\n")), plain.clone()]);
            bombs.push(vec![once(format!("{start}Transfer-Encoding: chunked\r\n\r\n")), chunked.clone()]);
        }
        Box::new(Bombs { address, bombs, next: 0 })
    }
    let attack = Attack {
        arguments: &["--limit-request-body", "10MiB"],
        rejected_for: &["body_too_large"],
        ..Attack::new("uploads beyond the limit", begin)
    };
    attack.is_withstood();
}

fn flood(address: SocketAddr, wave: fn(u32) -> Vec<u8>) -> Box<dyn Attacker> {
    Box::new(Flood { address, opening: frames::hello(65_535), wave, stream: None })
}

#[test]
fn rapid_resets() {
    let attack = Attack {
        rejected_for: &["http2_flood"],
        ..Attack::new("rapid resets", |address| flood(address, frames::resets))
    };
    attack.is_withstood();
}

#[test]
fn continuations_without_an_end() {
    let attack = Attack {
        rejected_for: &["http2_flood"],
        ..Attack::new("continuations", |address| flood(address, frames::continuations))
    };
    attack.is_withstood();
}

#[test]
fn bombs_in_the_table_of_fields() {
    let attack = Attack {
        rejected_for: &["http2_flood"],
        ..Attack::new("HPACK bombs", |address| flood(address, frames::table_bombs))
    };
    attack.is_withstood();
}

/// Clients that never read are cut off after this.
const WRITE_TIMEOUT: &[&str] = &["--write-timeout", "200ms"];
/// Longer than that.
const DEAF_LIFE: Duration = Duration::from_millis(400);
const DEAF_CONNECTIONS: usize = 50;
/// What waits for a client that does not read: the engine's high water, the part that crossed it, and the part in the app's hands.
const DEAF_CONNECTION_KIB: u64 = 3 * 64;
const DEAF_KIB: u64 = DEAF_CONNECTIONS as u64 * DEAF_CONNECTION_KIB;

#[test]
fn clients_that_never_read() {
    fn begin(address: SocketAddr) -> Box<dyn Attacker> {
        let question = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
        Box::new(Deaf::new(address, DEAF_CONNECTIONS, question, DEAF_LIFE))
    }
    let attack = Attack {
        arguments: WRITE_TIMEOUT,
        rejected_for: &["write_timeout"],
        held_kib: DEAF_KIB,
        ..Attack::new("clients that never read", begin)
    };
    attack.is_withstood();
}

#[test]
fn windows_that_stay_shut() {
    /// Requests of each connection.
    const STREAMS: u32 = 10;
    const CONNECTIONS: usize = 10;
    fn begin(address: SocketAddr) -> Box<dyn Attacker> {
        let questions = (0..STREAMS).map(|number| frames::get(2 * number + 1, "/large"));
        let question = [frames::hello(0)].into_iter().chain(questions).flatten().collect();
        Box::new(Deaf::new(address, CONNECTIONS, question, DEAF_LIFE))
    }
    let attack = Attack {
        arguments: WRITE_TIMEOUT,
        rejected_for: &["write_timeout"],
        held_kib: CONNECTIONS as u64 * u64::from(STREAMS) * DEAF_CONNECTION_KIB,
        ..Attack::new("windows that stay shut", begin)
    };
    attack.is_withstood();
}

#[test]
fn websockets_that_are_never_read() {
    fn begin(address: SocketAddr) -> Box<dyn Attacker> {
        let question = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        Box::new(Deaf::new(address, DEAF_CONNECTIONS, question.to_vec(), DEAF_LIFE))
    }
    let attack = Attack {
        arguments: WRITE_TIMEOUT,
        rejected_for: &["write_timeout"],
        held_kib: DEAF_KIB,
        ..Attack::new("WebSockets that are never read", begin)
    };
    attack.is_withstood();
}
