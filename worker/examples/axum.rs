//! An axum application served by the worker library. Runs alone and under a supervisor, with the same code:
//!
//! ```text
//! cargo run -p worker --example axum                      # alone, on HOST:PORT or 127.0.0.1:8000
//! cargo build -p worker --example axum
//! supervise --workers auto ./target/debug/examples/axum   # supervised; kill -HUP after a rebuild serves the new build
//! ```

use std::{convert::Infallible, process::ExitCode, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::{Extension, Path, Query},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};

fn main() -> ExitCode {
    worker::serve(router())
}

fn router() -> Router {
    Router::new()
        .route("/", get(async || "hello from axum\n"))
        .route("/json", get(json))
        .route("/greet/{name}", get(greet))
        .route("/upload", post(upload))
        .route("/echo", post(async |body: Body| body))
        .route("/download", get(download))
        .route("/slow", get(slow))
        .route("/version", get(async || VERSION))
        .route("/pid", get(async || std::process::id().to_string()))
        .route("/peer", get(peer))
        .route("/panic", get(panic))
        .route("/block", get(block))
}

/// Changes from build to build when the variable does: a reload is seen from outside.
const VERSION: &str = match option_env!("AXUM_EXAMPLE_VERSION") {
    Some(version) => version,
    None => "1",
};

#[derive(Serialize)]
struct Message {
    message: &'static str,
    numbers: [u32; 3],
}

async fn json() -> Json<Message> {
    Json(Message { message: "hello, world", numbers: [1, 2, 3] })
}

async fn greet(Path(name): Path<String>) -> String {
    format!("hello, {name}\n")
}

#[derive(Serialize)]
struct Received {
    bytes: u64,
    /// FNV-1a of the whole body: the client can tell whether every byte arrived, once and in order.
    checksum: u64,
}

/// Takes a body of any size, a piece at a time.
async fn upload(mut body: Body) -> Result<Json<Received>, (http::StatusCode, String)> {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut received = Received { bytes: 0, checksum: OFFSET };
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| (http::StatusCode::BAD_REQUEST, error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        received.bytes += data.len() as u64;
        for &byte in &data {
            received.checksum = (received.checksum ^ u64::from(byte)).wrapping_mul(PRIME);
        }
    }
    Ok(Json(received))
}

#[derive(Deserialize)]
struct Download {
    bytes: usize,
}

/// Streams that many bytes; only as much is made as the client takes.
async fn download(Query(Download { bytes }): Query<Download>) -> Response {
    const PIECE: &[u8] = &[b'x'; 16 * 1024];
    let pieces = (0..bytes.div_ceil(PIECE.len())).map(move |piece| {
        let length = PIECE.len().min(bytes - piece * PIECE.len());
        Ok::<_, Infallible>(&PIECE[..length])
    });
    Body::from_stream(futures_util::stream::iter(pieces)).into_response()
}

#[derive(Deserialize)]
struct Slow {
    ms: u64,
}

async fn slow(Query(Slow { ms }): Query<Slow>) -> String {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    format!("slept {ms} ms\n")
}

async fn peer(Extension(connection): Extension<worker::ConnectionInfo>) -> String {
    format!("{:?}\n", connection.peer)
}

/// Shows what a panic costs: this request, and nothing else.
async fn panic() -> &'static str {
    panic!("this route panics on purpose")
}

/// Blocks the worker's only thread for ever, to be found and replaced by the supervisor.
async fn block() -> &'static str {
    loop {
        std::thread::park();
    }
}
