//! The sending side over HTTP/2: few connections, each with many requests at once. A request is sent again only if the server has
//! declared it untouched, by a GOAWAY below its stream or by REFUSED_STREAM (RFC 9113 §8.7); whatever else has no answer is lost.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::LocalSet,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{Failure, FailureKind, Load, Shared};
use crate::http::Reply;

/// After a failed connect, so that a refusing server is not hammered by a busy loop.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_millis(5);

/// Sends until the limit or the stop.
pub(super) fn run(load: &Load, shared: &Arc<Shared>, streams: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    let tasks = LocalSet::new();
    let last_id = Rc::new(Cell::new(0));
    for _ in 0..load.concurrency / streams {
        let slot = Rc::new(Slot {
            load: load.clone(),
            shared: Arc::clone(shared),
            last_id: Rc::clone(&last_id),
            current: RefCell::new(None),
            connecting: tokio::sync::Mutex::new(()),
        });
        for _ in 0..streams {
            tasks.spawn_local(Rc::clone(&slot).run());
        }
    }
    runtime.block_on(tasks);
}

/// The place of one connection, which is replaced when the server leaves it.
struct Slot {
    load: Load,
    shared: Arc<Shared>,
    last_id: Rc<Cell<u64>>,
    current: RefCell<Option<Connection>>,
    /// Held by whoever makes the next connection.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Connection {
    sender: SendRequest<Bytes>,
    made_at: Instant,
}

/// Why a request has no reply.
enum Trouble {
    /// The server has never looked at it.
    Untouched(h2::Error),
    Lost(FailureKind, String),
}

impl Slot {
    async fn run(self: Rc<Self>) {
        loop {
            let id = self.last_id.get() + 1;
            if !self.shared.begins(&self.load, id) {
                return;
            }
            self.last_id.set(id);
            self.send_one(id).await;
        }
    }

    async fn send_one(&self, id: u64) {
        loop {
            let connection = match self.connection().await {
                Ok(connection) => connection,
                Err(failure) => {
                    self.shared.with_report(|report| report.note(failure));
                    return tokio::time::sleep(PAUSE_AFTER_REFUSAL).await;
                }
            };
            let made_at = connection.made_at;
            let outcome = timeout(self.load.timeout, exchange(connection.sender, id)).await;
            let outcome = outcome
                .unwrap_or_else(|_| Err(Trouble::Lost(FailureKind::TimedOut, format!("request {id}"))))
                .and_then(|reply| self.judge(id, &reply));
            match outcome {
                Ok(()) => return,
                Err(Trouble::Untouched(error)) => {
                    self.shared.with_report(|report| report.sent_again += 1);
                    self.give_up(made_at, &error);
                }
                Err(Trouble::Lost(kind, detail)) => {
                    let connected_at = Some(made_at);
                    let failure = Failure { kind, at: Instant::now(), connected_at, pid: 0, detail };
                    return self.shared.with_report(|report| report.note(failure));
                }
            }
        }
    }

    /// The connection with room for another request: the current one until it is given up, then a new one.
    async fn connection(&self) -> Result<Connection, Failure> {
        loop {
            let current = self.current.borrow().clone();
            if let Some(Connection { sender, made_at }) = current {
                match sender.ready().await {
                    Ok(sender) => return Ok(Connection { sender, made_at }),
                    // Before a byte of the request was sent: nothing is lost.
                    Err(error) => self.give_up(made_at, &error),
                }
                continue;
            }
            let _alone = self.connecting.lock().await;
            if self.current.borrow().is_none() {
                let made = self.connect().await?;
                *self.current.borrow_mut() = Some(made);
            }
        }
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let failed = |kind, detail| Failure { kind, at: Instant::now(), connected_at: None, pid: 0, detail };
        let stream = match timeout(self.load.timeout, TcpStream::connect(self.load.target)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                return Err(failed(FailureKind::Refused, error.to_string()));
            }
            Ok(Err(error)) => return Err(failed(FailureKind::NotConnected, error.to_string())),
            Err(_) => return Err(failed(FailureKind::NotConnected, "no connection in time".to_owned())),
        };
        let made_at = Instant::now();
        let sender =
            self.handshake(stream).await.map_err(|detail| failed(FailureKind::ResetOnFresh, detail))?;
        self.shared.with_report(|report| report.connections += 1);
        Ok(Connection { sender, made_at })
    }

    async fn handshake(&self, stream: TcpStream) -> Result<SendRequest<Bytes>, String> {
        let Some(client) = &self.load.tls else { return begin(stream).await };
        let name = ServerName::try_from("localhost").map_err(|error| error.to_string())?;
        let connector = TlsConnector::from(client.of_http2());
        begin(connector.connect(name, stream).await.map_err(|error| error.to_string())?).await
    }

    /// No further request goes to the connection made then.
    fn give_up(&self, made_at: Instant, error: &h2::Error) {
        let mut current = self.current.borrow_mut();
        if current.as_ref().is_none_or(|current| current.made_at != made_at) {
            return;
        }
        *current = None;
        self.shared.with_report(|report| {
            let count =
                if error.is_go_away() { &mut report.announced_closes } else { &mut report.clean_closes };
            *count += 1;
        });
    }

    fn judge(&self, id: u64, reply: &Reply) -> Result<(), Trouble> {
        if !(200..300).contains(&reply.status) {
            let detail = format!("{}: {}", reply.status, reply.text());
            return Err(Trouble::Lost(FailureKind::BadStatus, detail));
        }
        let tags = (self.load.check)(id, reply);
        let tags = tags.map_err(|detail| Trouble::Lost(FailureKind::WrongBody, detail))?;
        self.shared.with_report(|report| report.note_answer(tags));
        Ok(())
    }
}

/// Begins with HTTP/2 on a connection, which is driven beside the requests on it: they tell how it ends.
async fn begin(stream: impl AsyncRead + AsyncWrite + Unpin + 'static) -> Result<SendRequest<Bytes>, String> {
    let (sender, connection) = h2::client::handshake(stream).await.map_err(|error| error.to_string())?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}

/// Sends a request and receives its whole reply.
async fn exchange(mut sender: SendRequest<Bytes>, id: u64) -> Result<Reply, Trouble> {
    let request = Request::get("http://localhost/").header("x-request-id", id).body(());
    let request = request.expect("a request");
    let (response, _) = sender.send_request(request, true).map_err(|error| unanswered(error, id))?;
    drop(sender);
    let (head, mut body) = response.await.map_err(|error| unanswered(error, id))?.into_parts();
    let mut reply = Reply { status: head.status.as_u16(), headers: Vec::new(), body: Vec::new() };
    while let Some(data) = body.data().await {
        let data =
            data.map_err(|error| Trouble::Lost(FailureKind::Truncated, format!("request {id}: {error}")))?;
        let _ = body.flow_control().release_capacity(data.len());
        reply.body.extend_from_slice(&data);
    }
    Ok(reply)
}

fn unanswered(error: h2::Error, id: u64) -> Trouble {
    let was_told = error.is_remote();
    let is_untouched = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR)
        || error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    if was_told && is_untouched {
        return Trouble::Untouched(error);
    }
    Trouble::Lost(FailureKind::ClosedUnanswered, format!("request {id}: {error}"))
}
