//! The supervisor's own HTTP endpoints: `/metrics`, `/healthz`, `/readyz`. Speaks HTTP; every answer comes from the event loop,
//! which alone knows the state, so no worker is ever asked and a stuck one delays nothing.

use std::{convert::Infallible, io, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc, oneshot},
};

/// Scrapers and probes, not users: more connections than this wait.
const MOST_CONNECTIONS: usize = 128;
/// Longer than the usual scrape interval of a minute, so that a scraper keeps its connection.
const IDLE_AT_MOST: Duration = Duration::from_secs(75);
/// Requests that wait for the event loop.
pub const QUESTIONS: usize = 64;
/// Without descriptors there is nothing to do but to wait for some.
const PAUSE_WITHOUT_DESCRIPTORS: Duration = Duration::from_millis(100);

/// What a client wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// The numbers.
    Metrics,
    /// Whether the supervisor lives.
    Health,
    /// Whether workers serve.
    Readiness,
}

/// A question to the event loop.
#[derive(Debug)]
pub struct Question {
    /// About what.
    pub topic: Topic,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Answer>,
}

/// What the event loop says.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Its kind.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

/// Serves until the runtime ends. `questions` reaches the event loop.
///
/// # Errors
/// The socket cannot be watched.
pub fn start(socket: std::net::TcpListener, questions: mpsc::Sender<Question>) -> io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    tokio::spawn(serve(listener, questions));
    Ok(())
}

async fn serve(listener: TcpListener, questions: mpsc::Sender<Question>) {
    let places = std::sync::Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok(place) = std::sync::Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let questions = questions.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(request, questions.clone()));
                    let mut connection = http1::Builder::new();
                    connection.timer(TokioTimer::new()).header_read_timeout(IDLE_AT_MOST);
                    // How a client's connection ends is the client's business.
                    let _over = connection.serve_connection(TokioIo::new(stream), service).await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(PAUSE_WITHOUT_DESCRIPTORS).await,
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    questions: mpsc::Sender<Question>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let topic = match request.uri().path() {
        "/metrics" => Topic::Metrics,
        "/healthz" => Topic::Health,
        "/readyz" => Topic::Readiness,
        _ => return Ok(plain(StatusCode::NOT_FOUND, "There are /metrics, /healthz and /readyz.\n")),
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "Use GET.\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(refusal);
    }
    let (sender, receiver) = oneshot::channel();
    let asked = questions.send(Question { topic, answer: sender }).await;
    match (asked, receiver.await) {
        (Ok(()), Ok(Answer { status, content_type, body })) => Ok(response(status, content_type, body)),
        (Ok(()), Err(_)) | (Err(_), _) => {
            Ok(plain(StatusCode::SERVICE_UNAVAILABLE, "The supervisor ends.\n"))
        }
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", text.to_owned())
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
