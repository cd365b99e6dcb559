//! Sends a response through an exchange: the head, then the body part by part, no faster than the client takes it.

use std::{fmt, future::poll_fn, pin::pin, task::Poll};

use bytes::{Buf, Bytes};
use http::{HeaderMap, StatusCode, header::CONTENT_LENGTH};
use http_body::Body as _;
use worker_server::{Exchange, Last, ReplyError, Room};

/// Sends `response`. The error says what the application did wrong; a client that leaves is no error.
pub(super) async fn send<B: http_body::Body>(
    response: http::Response<B>,
    is_head: bool,
    exchange: &Exchange<Bytes>,
) -> Result<(), String>
where
    B::Error: fmt::Display,
{
    let (head, body) = response.into_parts();
    let length = announced_length(head.status, &head.headers, body.size_hint().exact(), is_head);
    let mut digits = itoa::Buffer::new();
    let length = length.map(|length| (&b"content-length"[..], digits.format(length).as_bytes()));
    let fields = head.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    if let Err(error) = exchange.head(head.status.as_u16(), fields.chain(length)) {
        return verdict(error);
    }
    let mut body = pin!(body);
    loop {
        if body.is_end_stream() {
            return finish(exchange, Bytes::new());
        }
        let frame = match poll_fn(|context| body.as_mut().poll_frame(context)).await {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Err(error.to_string()),
            None => return finish(exchange, Bytes::new()),
        };
        // Trailers are dropped: HTTP/1 clients must ask for them, and next to none does.
        let Ok(mut data) = frame.into_data() else { continue };
        let chunk = data.copy_to_bytes(data.remaining());
        if body.is_end_stream() {
            return finish(exchange, chunk);
        }
        match exchange.body(chunk, Last::No) {
            Ok(Room::Free) => {}
            Ok(Room::Full) => room(exchange).await,
            Err(error) => return verdict(error),
        }
    }
}

fn finish(exchange: &Exchange<Bytes>, chunk: Bytes) -> Result<(), String> {
    exchange.body(chunk, Last::Yes).map_or_else(verdict, |_room| Ok(()))
}

/// Waits until the client has taken enough, or is gone.
async fn room(exchange: &Exchange<Bytes>) {
    poll_fn(|context| {
        if exchange.room() == Room::Free || exchange.is_over() {
            return Poll::Ready(());
        }
        exchange.wake_on_room(context.waker().clone());
        Poll::Pending
    })
    .await;
}

/// The length that the head should announce although the application did not: the body knows it. Without one the engine picks
/// the framing, and for a body in one part that is a length too.
fn announced_length(
    status: StatusCode,
    headers: &HeaderMap,
    exact: Option<u64>,
    is_head: bool,
) -> Option<u64> {
    let has_no_body = status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
        // The reply to HEAD is often the reply to GET with its body taken away: zero would be a lie.
        || (is_head && exact == Some(0));
    exact.filter(|_length| !has_no_body && !headers.contains_key(CONTENT_LENGTH))
}

fn verdict(error: ReplyError) -> Result<(), String> {
    let cause = match error {
        ReplyError::Disconnected => return Ok(()),
        ReplyError::OutOfOrder => "it sent the parts of its response out of order",
        ReplyError::InvalidStatus => "its status is no final one (200 to 999)",
        ReplyError::InvalidHeader => "a header of its response is not valid",
        ReplyError::TooLong => "its body is longer than its content-length",
        ReplyError::TooShort => "its body is shorter than its content-length",
    };
    Err(cause.to_owned())
}
