//! The reply as hyper fetches it: first its head, then the parts of its body, as flow control lets it.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use hyper::{
    Response, StatusCode,
    body::{Body, Frame, SizeHint},
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue},
};

use super::{
    Part, Phase, Stream, StreamsShared,
    queued::{GoOn, Queued},
};
use crate::{
    Service, TimeLimit,
    gate::Ticket,
    http1::{
        refusal::Refusal,
        reply::{self, ReplyFacts},
    },
    mailbox::ReplyBody,
    output::FileRange,
};

/// hyper's side of a reply.
pub(crate) enum Reply<C> {
    /// The app makes it.
    OfApp(Outgoing<C>),
    /// It was made without the app.
    Ready(Option<Response<Outgoing<C>>>),
    /// There is none: the stream is reset with this.
    Reset(h2::Reason),
    /// The request waits for its turn.
    Queued(Box<Queued<C>>),
}

/// The body of a reply. hyper drops it when the stream is done or broken off.
pub(crate) struct Outgoing<C> {
    source: Source<C>,
}

enum Source<C> {
    Stream(Rc<Stream<C>>),
    /// The engine's own text.
    Text(Option<Bytes>),
    /// It went into the response.
    Moved,
}

impl<C> Reply<C> {
    /// The reply that the app makes on `stream`.
    pub(crate) fn of_app(stream: Rc<Stream<C>>) -> Self {
        Self::OfApp(Outgoing { source: Source::Stream(stream) })
    }

    /// The answer to a request that no app sees.
    pub(crate) fn refusal(refusal: Refusal, reply_body: ReplyBody, service: &Service) -> Self {
        let status = refusal.status();
        let text = format!("{}: {}\n", reply::reason(status), refusal.explanation());
        let mut response = plain_response(status, text.into(), reply_body, service);
        for &(name, value) in refusal.fields() {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        Self::Ready(Some(response))
    }

    /// The answer to a request that waits for its turn; `go_on` is called when that has come, or was missed.
    pub(crate) fn queued(shared: Rc<StreamsShared<C>>, ticket: Ticket, go_on: GoOn<C>) -> Self {
        Self::Queued(Box::new(Queued::new(shared, ticket, go_on)))
    }
}

impl<C> Future for Reply<C> {
    type Output = Result<Response<Outgoing<C>>, h2::Error>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        // Nobody's waker is kept: the stream has that of its task from the beginning.
        let reply = self.get_mut();
        if let Self::Queued(queued) = reply {
            match queued.poll() {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(next) => *reply = next,
            }
        }
        match reply {
            Self::OfApp(outgoing) => outgoing.response(),
            // One wait is enough.
            Self::Queued(_) => Poll::Pending,
            Self::Ready(response) => {
                response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
            }
            Self::Reset(reason) => Poll::Ready(Err((*reason).into())),
        }
    }
}

impl<C> Unpin for Reply<C> {}

impl<C> Outgoing<C> {
    /// The reply's head, as soon as there is one; the body goes with it.
    fn response(&mut self) -> Poll<Result<Response<Self>, h2::Error>> {
        let Source::Stream(stream) = &self.source else { return Poll::Pending };
        match stream.phase.get() {
            Phase::Awaited | Phase::Heading | Phase::Held => Poll::Pending,
            Phase::Streaming(_) | Phase::Complete => {
                let fields = std::mem::take(&mut *stream.fields.borrow_mut());
                let status = stream.status.get();
                let body = Self { source: std::mem::replace(&mut self.source, Source::Moved) };
                Poll::Ready(Ok(response(status, fields, body)))
            }
            Phase::Failed(status) => {
                stream.status.set(status);
                let text = format!("{}\n", reply::reason(status)).into();
                Poll::Ready(Ok(plain_response(status, text, stream.reply_body, &stream.shared.service)))
            }
            Phase::Broken | Phase::Over => Poll::Ready(Err(h2::Reason::INTERNAL_ERROR.into())),
        }
    }
}

fn plain_response<C>(
    status: u16,
    text: Bytes,
    reply_body: ReplyBody,
    service: &Service,
) -> Response<Outgoing<C>> {
    let mut fields = HeaderMap::new();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    fields.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    service.stamp_fields(&mut fields, &ReplyFacts::default());
    let text = match reply_body {
        ReplyBody::Sent => Some(text),
        ReplyBody::Withheld => None,
    };
    response(status, fields, Outgoing { source: Source::Text(text) })
}

fn response<C>(status: u16, fields: HeaderMap, body: Outgoing<C>) -> Response<Outgoing<C>> {
    let mut response = Response::new(body);
    // Statuses were checked when the app set them.
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = fields;
    response
}

impl<C: AsRef<[u8]>> Body for Outgoing<C> {
    type Data = Piece<C>;
    type Error = h2::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece<C>>, h2::Error>>> {
        let stream = match &mut self.get_mut().source {
            Source::Stream(stream) => stream,
            Source::Text(text) => {
                let frame = text.take().map(|text| Ok(Frame::data(Piece::Text(text))));
                return Poll::Ready(frame);
            }
            Source::Moved => return Poll::Ready(None),
        };
        if stream.phase.get() == Phase::Broken {
            return Poll::Ready(Some(Err(h2::Reason::INTERNAL_ERROR.into())));
        }
        match stream.pop_part() {
            Some(Part::Chunk(chunk)) => {
                return Poll::Ready(Some(Ok(Frame::data(Piece::chunk(Rc::clone(stream), chunk)))));
            }
            Some(Part::File(range, length)) => return Poll::Ready(Some(stream.read_file(range, length))),
            None => {}
        }
        match stream.phase.get() {
            Phase::Complete => Poll::Ready(stream.trailers.take().map(|fields| Ok(Frame::trailers(*fields)))),
            Phase::Awaited
            | Phase::Heading
            | Phase::Held
            | Phase::Streaming(_)
            | Phase::Failed(_)
            | Phase::Broken
            | Phase::Over => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Stream(stream) => {
                stream.phase.get() == Phase::Complete
                    && stream.parts.borrow().is_empty()
                    && !stream.has_trailers()
            }
            Source::Text(text) => text.is_none(),
            Source::Moved => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        // The head says the length, where there is one.
        SizeHint::default()
    }
}

impl<C> Drop for Outgoing<C> {
    fn drop(&mut self) {
        if let Source::Stream(stream) = &self.source {
            stream.end();
        }
    }
}

/// A part of a body on its way through hyper. Its chunk is never dropped here, where hyper may hold a lock.
pub(crate) enum Piece<C> {
    /// Of the app.
    Chunk { stream: Rc<Stream<C>>, chunk: Option<C>, written: usize, length: usize },
    /// Read of a file.
    Read { stream: Rc<Stream<C>>, bytes: Bytes },
    /// Of the engine.
    Text(Bytes),
}

impl<C> Stream<C> {
    /// The next piece of a file; the rest is fetched later.
    fn read_file(self: &Rc<Self>, mut range: FileRange, length: usize) -> Result<Frame<Piece<C>>, h2::Error> {
        let Ok(bytes) = range.read_next(length) else {
            self.phase.set(Phase::Broken);
            return Err(h2::Reason::INTERNAL_ERROR.into());
        };
        if bytes.len() < length {
            self.parts.borrow_mut().push_back_first(Part::File(range, length - bytes.len()));
        }
        Ok(Frame::data(Piece::Read { stream: Rc::clone(self), bytes: bytes.into() }))
    }

    fn has_trailers(&self) -> bool {
        let trailers = self.trailers.take();
        let has_trailers = trailers.is_some();
        self.trailers.set(trailers);
        has_trailers
    }
}

impl<C: AsRef<[u8]>> Piece<C> {
    fn chunk(stream: Rc<Stream<C>>, chunk: C) -> Self {
        let length = chunk.as_ref().len();
        Self::Chunk { stream, chunk: Some(chunk), written: 0, length }
    }
}

impl<C: AsRef<[u8]>> Buf for Piece<C> {
    fn remaining(&self) -> usize {
        match self {
            Self::Chunk { written, length, .. } => length - written,
            Self::Read { bytes, .. } => bytes.len(),
            Self::Text(text) => text.len(),
        }
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Self::Chunk { chunk: Some(chunk), written, length, .. } => &chunk.as_ref()[*written..*length],
            Self::Chunk { chunk: None, .. } => &[],
            Self::Read { bytes, .. } => bytes,
            Self::Text(text) => text,
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Chunk { stream, written, .. } => {
                *written += count;
                stream.written(count);
            }
            Self::Read { stream, bytes } => {
                bytes.advance(count);
                stream.written(count);
            }
            Self::Text(text) => text.advance(count),
        }
    }
}

impl<C> Drop for Piece<C> {
    fn drop(&mut self) {
        match self {
            Self::Chunk { stream, chunk, written, length } => {
                if *written < *length {
                    stream.written(*length - *written);
                }
                if let Some(chunk) = chunk.take() {
                    stream.shared.spend(chunk);
                }
            }
            Self::Read { stream, bytes } if !bytes.is_empty() => stream.written(bytes.len()),
            Self::Read { .. } | Self::Text(_) => {}
        }
    }
}

impl<C> Stream<C> {
    /// Looks at the stream's time limits.
    pub(crate) fn check_limits(&self, now: Instant) -> Overdue {
        if let Some(limit) = self.request_limit.get() {
            if now >= limit {
                self.request_limit.set(None);
                return self.cut_off(now);
            }
            self.shared.limit(limit, Duration::ZERO);
        }
        if let Some(limit) = self.body_overdue(now) {
            self.stop_waiting();
            self.fail_with(408);
            return Overdue::Request(limit);
        }
        if self.is_reply_overdue(now) {
            return Overdue::Reply;
        }
        Overdue::Nothing
    }

    /// The request takes too long: 503 if hyper has not fetched a head, else the stream is reset.
    fn cut_off(&self, now: Instant) -> Overdue {
        if let Some(in_flight) = self.in_flight.get() {
            let age = now.saturating_duration_since(in_flight.started);
            self.shared.service.meter.request_overdue(in_flight.number, age);
        }
        match self.phase.get() {
            Phase::Awaited | Phase::Heading | Phase::Held => {
                self.fail_with(Refusal::RequestTimeout.status());
                Overdue::Nothing
            }
            Phase::Streaming(_) | Phase::Complete | Phase::Failed(_) | Phase::Broken | Phase::Over => {
                Overdue::Exchange
            }
        }
    }
}

/// Which time limit of a stream is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overdue {
    Nothing,
    /// The request's body does not come; the stream was told to end.
    Request(TimeLimit),
    /// All of it takes too long, and the client has seen a part of the reply: only dropping hyper's task ends the stream.
    Exchange,
    /// The client takes nothing of the reply: only dropping hyper's task ends the stream.
    Reply,
}

impl<C> fmt::Debug for Outgoing<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Outgoing").finish_non_exhaustive()
    }
}
