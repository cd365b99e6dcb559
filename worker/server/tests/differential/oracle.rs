//! hyper's HTTP/1 server, fed with the same bytes.

use std::{
    cell::RefCell,
    future::Future,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, Version, body::Incoming, server::conn::http1, service::service_fn};

use crate::{
    Outcome, Seen, sorted,
    support::{Bell, wire::Wire},
    text,
};

/// Plays a connection; every piece is one read.
pub(crate) fn play_on_hyper(pieces: &[Vec<u8>]) -> Outcome {
    let seen: Rc<RefCell<Vec<Seen>>> = Rc::default();
    let log = Rc::clone(&seen);
    let service = service_fn(move |request: Request<Incoming>| {
        let log = Rc::clone(&log);
        async move {
            let mut seen = see(&request);
            seen.body = text(&request.into_body().collect().await?.to_bytes());
            log.borrow_mut().push(seen);
            Ok::<_, hyper::Error>(Response::new(Full::new(&b"ok"[..])))
        }
    });
    let wire = Wire::new();
    let mut connection =
        pin!(http1::Builder::new().header_read_timeout(None).serve_connection(wire.io(), service));
    let bell = Arc::new(Bell::default());
    let waker = bell.waker();
    let mut context = Context::from_waker(&waker);
    waker.wake_by_ref();
    let mut failure = None;
    for piece in pieces {
        wire.send(piece);
        while bell.rang() && failure.is_none() {
            if let Poll::Ready(result) = connection.as_mut().poll(&mut context) {
                failure = Some(result.err().map(|error| error.to_string()));
            }
        }
    }
    let output = text(&wire.take_output());
    let refusal = failure.flatten();
    Outcome { seen: seen.take(), replies: output.matches(" 200 OK\\r\\n").count(), refusal }
}

fn see(request: &Request<Incoming>) -> Seen {
    let mut host = None;
    let mut headers = Vec::new();
    for (name, value) in request.headers() {
        if name == "host" {
            host = Some(text(value.as_bytes()));
        } else {
            headers.push((text(name.as_str().as_bytes()), text(value.as_bytes())));
        }
    }
    let uri = request.uri();
    if let Some(authority) = uri.authority() {
        host = Some(authority.to_string());
    }
    Seen {
        method: text(request.method().as_str().as_bytes()),
        path: text(uri.path().as_bytes()),
        query: text(uri.query().unwrap_or_default().as_bytes()),
        version: match request.version() {
            Version::HTTP_10 => "1.0",
            Version::HTTP_11 => "1.1",
            _ => "other",
        },
        headers: sorted(headers),
        host,
        body: String::new(),
    }
}
