//! What a tower service can rely on: bodies both ways at the pace of the slower side, failures that cost one request, and handlers
//! that are dropped when their client leaves. Over an in-memory connection.

use std::{
    cell::Cell,
    future::{Future, ready},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper_util::rt::TokioTimer;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    runtime::{Builder, LocalOptions},
    task::spawn_local,
};
use worker_server::{Connection, ConnectionInfo, Drain, Peer, Policy, Scheme, Service as Engine};

use super::{Body, http_app::HttpApp};
use crate::{
    limits::limits,
    meter::WorkerMeter,
    scoreboard_mapping::{EvidenceTable, Scoreboard},
    tokio_driver::{SystemClock, stream::Stream},
};

/// A service that is a closure.
#[derive(Clone)]
struct Handler<F>(F);

impl<F, R, B> tower_service::Service<Request<Body>> for Handler<F>
where
    F: FnMut(Request<Body>) -> R,
    R: Future<Output = Result<Response<B>, String>>,
{
    type Response = Response<B>;
    type Error = String;
    type Future = R;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), String>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> R {
        (self.0)(request)
    }
}

fn text(text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::new(Full::new(text.into()))
}

/// Serves `handler` on one in-memory connection whose buffers hold little, while `client` runs on the other end.
fn with_client<F, R, B, C>(handler: F, client: impl FnOnce(DuplexStream) -> C)
where
    F: FnMut(Request<Body>) -> R + Clone + 'static,
    R: Future<Output = Result<Response<B>, String>> + 'static,
    B: http_body::Body + 'static,
    B::Error: std::fmt::Display,
    C: Future<Output = ()>,
{
    const BUFFER_BYTES: usize = 4096;
    let runtime = Builder::new_current_thread().enable_time().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(async {
        let (ours, theirs) = duplex(BUFFER_BYTES);
        let meter = WorkerMeter::new(Scoreboard::private().unwrap(), EvidenceTable::private().unwrap());
        let app = Rc::new(HttpApp::new(Handler(handler), meter.clone()));
        let limits = limits(&protocol::defaults::HTTP);
        let policy = Policy::trusting_nobody();
        let engine =
            Engine::new(limits, policy, Rc::new(meter), SystemClock, TokioTimer::new(), Drain::new());
        let (peer, local) = (Peer::Unix(None), Peer::Unix(None));
        let info = ConnectionInfo { peer, local, scheme: Scheme::Http, tls: None };
        let connection = spawn_local(Connection::new(Stream::new(ours), Rc::new(info), app, engine));
        tokio::time::timeout(PATIENCE, client(theirs)).await.expect("the client waits for ever");
        connection.abort();
    });
}

/// Only a broken engine meets it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Gives everybody else so many turns: enough for all that can happen without this side.
async fn turns() {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}

async fn exchange(stream: &mut DuplexStream, request: &[u8]) -> String {
    stream.write_all(request).await.unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.unwrap();
    String::from_utf8(reply).unwrap()
}

const GET: &[u8] =
    b"GET /path?query HTTP/1.1\r\nhost: test\r\nx-twice: 1\r\nx-twice: 2\r\nconnection: close\r\n\r\n";

#[test]
fn a_request_arrives_as_it_was_sent() {
    let handler = |request: Request<Body>| {
        let twice: Vec<_> = request.headers().get_all("x-twice").iter().collect();
        let connection = request.extensions().get::<super::ConnectionInfo>().unwrap();
        let seen = format!("{} {} {twice:?} {:?}", request.method(), request.uri(), connection.scheme);
        ready(Ok(text(seen)))
    };
    with_client(handler, async |mut stream| {
        let reply = exchange(&mut stream, GET).await;
        assert!(reply.ends_with("\r\n\r\nGET /path?query [\"1\", \"2\"] Http"), "{reply}");
        assert!(reply.contains("content-length: 31\r\n"), "{reply}");
    });
}

#[test]
fn a_body_can_be_read_on_another_thread() {
    let handler = |request: Request<Body>| async move {
        let reader = tokio::task::spawn_blocking(|| {
            let runtime = Builder::new_current_thread().build().unwrap();
            runtime.block_on(request.into_body().collect()).unwrap().to_bytes()
        });
        Ok(text(format!("{} bytes", reader.await.unwrap().len())))
    };
    with_client(handler, async |mut stream| {
        let mut request =
            b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 100000\r\nconnection: close\r\n\r\n".to_vec();
        request.resize(request.len() + 100_000, b'x');
        let reply = exchange(&mut stream, &request).await;
        assert!(reply.ends_with("100000 bytes"), "{reply}");
    });
}

#[test]
fn a_body_that_nobody_reads_is_not_taken_from_the_client() {
    let handler = |request: Request<Body>| async move {
        std::future::pending::<()>().await;
        drop(request);
        Ok(text(""))
    };
    with_client(handler, async |mut stream| {
        stream
            .write_all(b"POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")
            .await
            .unwrap();
        let chunk = [b"1000\r\n".as_slice(), &[b'x'; 4096], b"\r\n"].concat();
        let mut sent = 0_usize;
        loop {
            tokio::select! {
                biased;
                written = stream.write_all(&chunk) => written.unwrap(),
                () = turns() => break,
            }
            sent += chunk.len();
            assert!(sent < 1 << 20, "the engine reads on and on");
        }
        assert!(sent > 0);
    });
}

#[test]
fn a_client_that_does_not_read_stops_the_stream_of_a_reply() {
    const ALL: usize = 10_000;
    let made = Rc::new(Cell::new(0));
    let counted = Rc::clone(&made);
    let handler = move |_request| {
        let counted = Rc::clone(&counted);
        let parts = (0..ALL).map(move |part| {
            counted.set(part + 1);
            Ok::<_, String>(Frame::data(Bytes::from_static(&[b'x'; 1024])))
        });
        // Rc is not Send, and need not be.
        ready(Ok::<_, String>(Response::new(StreamBody::new(futures_util::stream::iter(parts)))))
    };
    with_client(handler, async |mut stream| {
        stream.write_all(GET).await.unwrap();
        let mut head = [0; 15];
        stream.read_exact(&mut head).await.unwrap();
        turns().await;
        assert!(made.get() < 1000, "{} parts were made for a client that took none", made.get());
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(made.get(), ALL);
        assert!(rest.ends_with(b"\r\n0\r\n\r\n"));
    });
}

#[test]
fn a_panic_and_an_error_cost_one_request() {
    let handler = |request: Request<Body>| async move {
        match request.uri().path() {
            "/panic" => panic!("on purpose"),
            "/error" => Err("on purpose".to_owned()),
            _ => Ok(text("fine")),
        }
    };
    for (path, status) in [("/panic", "500"), ("/error", "500"), ("/other", "200")] {
        with_client(handler, async |mut stream| {
            let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
            let reply = exchange(&mut stream, request.as_bytes()).await;
            assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {reply}");
        });
    }
}

#[test]
fn a_reply_that_fails_half_way_is_never_taken_for_whole() {
    let handler = |_request| {
        let parts = [Ok(Frame::data(Bytes::from_static(b"half"))), Err("on purpose".to_owned())];
        // A pause between the two, so that the first is sent.
        let parts = parts.into_iter().map(|part| async {
            tokio::task::yield_now().await;
            part
        });
        let stream = futures_util::StreamExt::then(futures_util::stream::iter(parts), |part| part);
        ready(Ok(Response::new(StreamBody::new(stream))))
    };
    with_client(handler, async |mut stream| {
        let reply = exchange(&mut stream, GET).await;
        assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("half"), "{reply}");
        assert!(!reply.ends_with("0\r\n\r\n"), "{reply}");
    });
}

#[test]
fn a_handler_is_dropped_when_its_client_leaves() {
    struct Dropped(Rc<Cell<bool>>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let was_dropped = Rc::new(Cell::new(false));
    let flag = Rc::clone(&was_dropped);
    let handler = move |_request| {
        let guard = Dropped(Rc::clone(&flag));
        async move {
            std::future::pending::<()>().await;
            drop(guard);
            Ok(text(""))
        }
    };
    with_client(handler, async |mut stream| {
        stream.write_all(GET).await.unwrap();
        turns().await;
        assert!(!was_dropped.get());
        drop(stream);
        turns().await;
        assert!(was_dropped.get());
    });
}

#[test]
fn the_length_of_a_reply_is_announced_where_it_is_known() {
    let handler = |request: Request<Body>| {
        let mut response = text(if request.uri().path() == "/empty" { "" } else { "known" });
        if request.uri().path() == "/204" {
            *response.status_mut() = http::StatusCode::NO_CONTENT;
            *response.body_mut() = Full::default();
        }
        ready(Ok(response))
    };
    for (request, has_length, ends_with) in [
        ("GET /", Some("content-length: 5\r\n"), "known"),
        ("HEAD /", Some("content-length: 5\r\n"), "\r\n\r\n"),
        ("GET /empty", Some("content-length: 0\r\n"), "\r\n\r\n"),
        ("GET /204", None, "\r\n\r\n"),
    ] {
        with_client(handler, async |mut stream| {
            let request = format!("{request} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
            let reply = exchange(&mut stream, request.as_bytes()).await;
            assert!(reply.ends_with(ends_with), "{request}{reply}");
            match has_length {
                Some(length) => assert!(reply.contains(length), "{request}{reply}"),
                None => assert!(!reply.contains("content-length"), "{request}{reply}"),
            }
        });
    }
}

#[test]
fn a_hyper_service_is_served_too() {
    let echo = hyper::service::service_fn(async |request: Request<Body>| {
        Ok::<_, std::convert::Infallible>(Response::new(request.into_body()))
    });
    let handler = move |request| {
        let answered = tower_service::Service::call(&mut super::from_hyper(echo), request);
        async { answered.await.map_err(|never| match never {}) }
    };
    with_client(handler, async |mut stream| {
        let request = b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\nconnection: close\r\n\r\nback";
        assert!(exchange(&mut stream, request).await.ends_with("\r\n\r\nback"));
    });
}
