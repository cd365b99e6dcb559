//! From a request that hyper has decoded to a call of the app.

use std::{rc::Rc, task::Waker, time::Duration};

use hyper::{
    Method, Request, Response,
    body::{Body, Incoming},
    http::request::Parts,
    service::Service as HyperService,
    upgrade::OnUpgrade,
};

use super::{tasks::Tasks, websocket};
use crate::{
    App, BodyLength, ConnectionInfo, Exchange, Header, Offers, PrefixPlace, RequestHead, RequestOutcome,
    Service, Version, WebSocket,
    access_log::RequestFacts,
    gate::{Entry, Permit, Ticket},
    http1::{head::Trailers, refusal::Refusal},
    http2::request::{self, Rejection, StreamEnd},
    mailbox::ReplyBody,
    stream::{Outgoing, Purpose, Reply, RequestTraits, Stream, StreamsShared, Turn},
    websocket::handshake::{BadHandshake, Handshake, KeyUse},
};

/// What a request needs besides its head.
struct Call {
    body: BodyLength,
    traits: RequestTraits,
    incoming: Incoming,
    /// The handshake of a WebSocket, and the stream that it may become.
    handshake: Option<(Handshake, OnUpgrade)>,
}

/// Calls the app for each request of one connection.
pub(super) struct Calls<A: App> {
    pub(super) info: Rc<ConnectionInfo>,
    pub(super) app: Rc<A>,
    pub(super) service: Rc<Service>,
    pub(super) streams: Rc<StreamsShared<A::Chunk>>,
    pub(super) tasks: Tasks<A::Chunk>,
}

impl<A: App> Clone for Calls<A> {
    fn clone(&self) -> Self {
        Self {
            info: Rc::clone(&self.info),
            app: Rc::clone(&self.app),
            service: Rc::clone(&self.service),
            streams: Rc::clone(&self.streams),
            tasks: self.tasks.clone(),
        }
    }
}

impl<A: App> HyperService<Request<Incoming>> for Calls<A> {
    type Response = Response<Outgoing<A::Chunk>>;
    type Error = h2::Error;
    type Future = Reply<A::Chunk>;

    fn call(&self, mut request: Request<Incoming>) -> Reply<A::Chunk> {
        let upgrade = hyper::upgrade::on(&mut request);
        let (parts, incoming) = request.into_parts();
        let end = if incoming.is_end_stream() { StreamEnd::WithHead } else { StreamEnd::Later };
        let reply_body = if parts.method == Method::HEAD { ReplyBody::Withheld } else { ReplyBody::Sent };
        let checked = request::check(&parts, end, &self.service.limits)
            .and_then(|body| Ok((body, self.handshake(&parts)?)));
        match checked {
            Ok((body, handshake)) => {
                let purpose = if handshake.is_some() { Purpose::WebSocket } else { Purpose::Reply };
                let trailers = request::trailers(&parts.headers);
                let traits = RequestTraits { reply_body, trailers, purpose };
                let call = Call { body, traits, incoming, handshake: handshake.map(|it| (it, upgrade)) };
                let Some(gate) = &self.service.gate else {
                    return self.begin(&parts, call, self.tasks.reserve(), None);
                };
                match gate.enter() {
                    Entry::Admitted(permit) => self.begin(&parts, call, self.tasks.reserve(), Some(permit)),
                    Entry::Queued(ticket) => self.queue(parts, call, ticket),
                    Entry::Full => {
                        self.service.meter.queue_was_full();
                        self.refuse(&parts, Refusal::QueueFull, reply_body)
                    }
                }
            }
            Err(Rejection::Malformed) => {
                self.service.meter.request_refused(400);
                Reply::Reset(h2::Reason::PROTOCOL_ERROR)
            }
            Err(Rejection::Refused(refusal)) => self.refuse(&parts, refusal, reply_body),
        }
    }
}

impl<A: App> Calls<A> {
    /// Lets a request wait for its turn.
    fn queue(&self, parts: Parts, call: Call, ticket: Ticket) -> Reply<A::Chunk> {
        let place = self.tasks.reserve();
        ticket.set_waker(&place.1);
        let calls = self.clone();
        let go_on = move |turn| match turn {
            Turn::Come(permit) => calls.begin(&parts, call, place, Some(permit)),
            Turn::Missed => calls.refuse(&parts, Refusal::QueueTimeout, call.traits.reply_body),
        };
        Reply::queued(Rc::clone(&self.streams), ticket, Box::new(go_on))
    }

    /// Answers for the app.
    fn refuse(&self, parts: &Parts, refusal: Refusal, reply_body: ReplyBody) -> Reply<A::Chunk> {
        self.service.meter.request_refused(refusal.status());
        self.log_refused(parts, refusal.status());
        Reply::refusal(refusal, reply_body, &self.service)
    }

    fn begin(
        &self,
        parts: &Parts,
        Call { body, traits, incoming, handshake }: Call,
        (slot, task): (usize, Waker),
        permit: Option<Permit>,
    ) -> Reply<A::Chunk> {
        let number = self.streams.stream_began(|line| request::write_line(line, parts));
        let stream = Stream::begin(Rc::clone(&self.streams), task, traits, incoming, number);
        if let Some(permit) = permit {
            stream.hold(permit);
        }
        self.tasks.set_stream(slot, Rc::clone(&stream));
        let reply = Reply::of_app(Rc::clone(&stream));
        let exchange = Exchange::on_stream(Rc::clone(&stream));
        let websocket = handshake.and_then(|(handshake, upgrade)| {
            Some((handshake, websocket::begin(&self.tasks, &self.service, Rc::clone(&stream), upgrade)?))
        });
        request::with_headers(parts, |headers| {
            let head = RequestHead {
                method: parts.method.as_str().as_bytes(),
                path: parts.uri.path().as_bytes(),
                query: parts.uri.query().unwrap_or_default().as_bytes(),
                version: Version::Http2,
                headers,
                body,
                offers: Offers {
                    early_hints: false,
                    trailers: traits.trailers == Trailers::Wanted,
                    files: true,
                },
                client: &self.info.peer,
                scheme: self.info.scheme,
                prefix: b"",
                prefix_place: PrefixPlace::TakenOff,
                connection: &self.info,
            };
            self.service.policy.forwarding.apply(&head, |head| {
                if let Some(log) = self.service.access_log() {
                    stream.set_log_entry(log.begin(&self.facts(&mut Vec::new(), parts, Some(head))));
                }
                match websocket {
                    None => self.app.call(head, exchange),
                    Some((handshake, session)) => {
                        self.app.websocket(head, WebSocket::new(exchange, session, handshake));
                    }
                }
            });
        });
        reply
    }

    /// The handshake of a WebSocket, if the request is one and the app speaks it.
    fn handshake(&self, parts: &Parts) -> Result<Option<Handshake>, Rejection> {
        let Some(limits) = request::asks_for_websocket(parts, &self.service.limits) else { return Ok(None) };
        let fields = parts.headers.iter();
        let headers: Vec<Header<'_>> = fields
            .map(|(name, value)| Header { name: name.as_str().as_bytes(), value: value.as_bytes() })
            .collect();
        match Handshake::check(headers.iter().copied(), KeyUse::None, limits) {
            Ok(handshake) => Ok(Some(handshake)),
            // No key is looked at.
            Err(BadHandshake::Version | BadHandshake::Key) => {
                Err(Rejection::Refused(Refusal::WebSocketVersion))
            }
        }
    }

    /// Writes the line of a request that no app sees.
    fn log_refused(&self, parts: &Parts, status: u16) {
        if let Some(log) = self.service.access_log() {
            let entry = log.begin(&self.facts(&mut Vec::new(), parts, None));
            let (duration, request_bytes, reply_bytes) = (Duration::ZERO, 0, 0);
            log.finish(
                entry,
                &RequestOutcome { status, duration, request_bytes, reply_bytes, aborted: false },
            );
        }
    }

    fn facts<'f>(
        &'f self,
        line: &'f mut Vec<u8>,
        parts: &Parts,
        head: Option<&'f RequestHead<'f>>,
    ) -> RequestFacts<'f> {
        request::write_line(line, parts);
        RequestFacts { line, head, connection: &self.info }
    }
}
