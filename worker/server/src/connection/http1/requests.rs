//! From raw bytes to a call of the app.

use std::{rc::Rc, task::Context};

use super::{FirstBytes, Http1, InFlight, NextStage, Phase, Progress, ReadResult};
use crate::{
    App, BodyLength, Exchange, Header, Offers, PrefixPlace, RequestHead, Transport, Version, WebSocket,
    access_log::RequestFacts,
    body_pace::BodyPace,
    forwarded::Provenance,
    http1::{
        chunked::BodyEnd,
        head::{self, Decoded, Expectation, FieldSpan, Head, Trailers, Upgrade},
        refusal::Refusal,
    },
    http2,
    limits::{OUTPUT_HIGH_WATER_BYTES, READ_AHEAD_BYTES},
    mailbox::{ReplyBody, RequestTraits},
    websocket::{
        handshake::{BadHandshake, Handshake, KeyUse},
        session::Session,
    },
};

/// Fields whose list is made on the stack. Browsers send about fifteen.
const FEW_FIELDS: usize = 24;
/// How much of HTTP/2's preface is there.
enum Preface {
    Complete,
    Begun,
    Absent,
}

/// The Host that an absolute target brings along.
const HOST: &[u8] = b"host";

impl<Io: Transport, A: App> Http1<Io, A> {
    /// Looks for a request in the raw bytes, and begins it.
    pub(super) fn next_request(&mut self, context: &mut Context<'_>) -> Progress {
        if self.turn.requests_left == 0
            || self.mailbox.output.borrow().waiting() >= OUTPUT_HIGH_WATER_BYTES
            || !self.has_news()
        {
            return Progress::None;
        }
        if self.first_bytes == FirstBytes::MayBePreface {
            match self.look_for_preface() {
                Preface::Complete => {
                    self.phase = Phase::Handed(NextStage::Http2);
                    return Progress::None;
                }
                Preface::Begun => {
                    // Nothing was decoded: whatever comes next is news, with or without a line end.
                    self.note_head_bytes(0);
                    return Progress::None;
                }
                Preface::Absent => self.first_bytes = FirstBytes::Seen,
            }
        }
        let mut fields = self.service.field_list();
        let mut inbound = self.mailbox.inbound.borrow_mut();
        let decoded = head::decode(inbound.raw(), &self.service.limits, &mut fields);
        drop(inbound);
        let progress = match decoded {
            Decoded::Incomplete => {
                let seen = self.mailbox.inbound.borrow().raw_length();
                self.note_head_bytes(seen);
                Progress::None
            }
            Decoded::Complete(head) => {
                if self.service.gate.is_none() || self.is_admitted(context) {
                    self.begin(&head, &fields, context);
                }
                Progress::Made
            }
            Decoded::Refused(refusal) => {
                self.refuse(refusal);
                Progress::Made
            }
        };
        self.service.spare_field_list(fields);
        progress
    }

    /// A head is on its way, of which these bytes are not enough; `seen` of them were decoded in vain.
    fn note_head_bytes(&mut self, seen: usize) {
        let since = match self.phase {
            Phase::Head { since, .. } => since,
            Phase::Idle { .. }
            | Phase::Queued { .. }
            | Phase::Exchange { .. }
            | Phase::Discard { .. }
            | Phase::Closing(_)
            | Phase::Lingering { .. }
            | Phase::Handed(_)
            | Phase::Closed => self.turn.now,
        };
        self.phase = Phase::Head { since, seen };
    }

    /// Whether the client begins with HTTP/2's connection preface (RFC 9113 §3.4), which no HTTP/1 request can.
    fn look_for_preface(&self) -> Preface {
        let mut inbound = self.mailbox.inbound.borrow_mut();
        let raw = inbound.raw();
        if raw.starts_with(http2::PREFACE) {
            Preface::Complete
        } else if http2::PREFACE.starts_with(raw) {
            Preface::Begun
        } else {
            Preface::Absent
        }
    }

    /// Whether decoding could bring another result than last time. A head that trickles in is looked at once a line, not once a
    /// byte, so that the work stays in proportion.
    fn has_news(&mut self) -> bool {
        let mut inbound = self.mailbox.inbound.borrow_mut();
        let empty = head::empty_lines(inbound.raw());
        if empty > 0 {
            self.first_bytes = FirstBytes::Seen;
            inbound.skip(empty);
            if let Phase::Idle { .. } = self.phase {
                self.phase = Phase::Head { since: self.turn.now, seen: 0 };
            }
        }
        let raw = inbound.raw();
        if raw.is_empty() || head::is_half_empty_line(raw) {
            return false;
        }
        let Phase::Head { seen, .. } = self.phase else { return true };
        let limits = &self.service.limits;
        seen == 0
            || memchr::memchr(b'\n', &raw[seen.min(raw.len())..]).is_some()
            || (seen < limits.request_line_bytes + 2 && raw.len() >= limits.request_line_bytes + 2)
            || (seen < limits.head_bytes && raw.len() >= limits.head_bytes)
    }

    /// Begins the request whose head was found: reads ahead, then calls the app.
    fn begin(&mut self, head: &Head, fields: &[FieldSpan], context: &mut Context<'_>) {
        self.turn.requests_left -= 1;
        if let (BodyLength::Known(length), Some(limit)) = (head.body, self.service.limits.body_bytes)
            && length > limit
        {
            self.refuse(Refusal::BodyTooLong);
            return;
        }
        let handshake = match self.handshake(head, fields) {
            Ok(handshake) => handshake,
            Err(refusal) => return self.refuse(refusal),
        };
        self.mailbox.inbound.borrow_mut().begin_body(head.length, head.body);
        match self.read_ahead(head, context) {
            Ok(ReadResult::Bytes | ReadResult::Blocked) => {}
            // Nobody is there to be answered.
            Ok(ReadResult::End | ReadResult::Broken) => return self.abandon(),
            Err(refusal) => return self.refuse(refusal),
        }
        self.call(head, fields, handshake);
    }

    /// The handshake of a WebSocket, if the request is one and the app speaks it.
    fn handshake(&self, head: &Head, fields: &[FieldSpan]) -> Result<Option<Handshake>, Refusal> {
        let (Upgrade::WebSocket, Some(limits)) = (head.upgrade, &self.service.limits.websocket) else {
            return Ok(None);
        };
        let mut inbound = self.mailbox.inbound.borrow_mut();
        let bytes = &*inbound.raw();
        let headers =
            fields.iter().map(|it| Header { name: it.name.slice(bytes), value: it.value.slice(bytes) });
        match Handshake::check(headers, KeyUse::Required, limits) {
            Ok(handshake) => Ok(Some(handshake)),
            Err(BadHandshake::Key) => Err(Refusal::WebSocketKey),
            Err(BadHandshake::Version) => Err(Refusal::WebSocketVersion),
        }
    }

    /// Reads as much of the body as is there and an app is likely to want at once.
    fn read_ahead(&mut self, head: &Head, context: &mut Context<'_>) -> Result<ReadResult, Refusal> {
        loop {
            let mut inbound = self.mailbox.inbound.borrow_mut();
            inbound.decode()?;
            self.check_body_size(inbound.received())?;
            let is_worth_waiting = match head.body {
                BodyLength::None => false,
                BodyLength::Known(length) => length <= READ_AHEAD_BYTES,
                BodyLength::Chunked => inbound.has_room(),
            };
            if inbound.body_end() == BodyEnd::Reached || !is_worth_waiting {
                return Ok(ReadResult::Bytes);
            }
            let wanted = inbound.body_remaining().unwrap_or(0);
            drop(inbound);
            // `is_worth_waiting` has bounded a known length.
            match self.read_once(context, usize::try_from(wanted).unwrap_or(0)) {
                ReadResult::Bytes => {}
                result @ (ReadResult::Blocked | ReadResult::End | ReadResult::Broken) => return Ok(result),
            }
        }
    }

    pub(super) fn check_body_size(&self, received: u64) -> Result<(), Refusal> {
        match self.service.limits.body_bytes {
            Some(limit) if received > limit => Err(Refusal::BodyTooLong),
            Some(_) | None => Ok(()),
        }
    }

    /// The session that the handshake which now begins may open.
    fn session(&mut self) -> Option<Rc<Session<A::Chunk>>> {
        let limits = self.service.limits.websocket.clone()?;
        let session = Rc::new(Session::new(Rc::clone(&self.service), limits));
        self.websocket = Some(Rc::clone(&session));
        Some(session)
    }

    fn call(&mut self, head: &Head, fields: &[FieldSpan], handshake: Option<Handshake>) {
        // The reply before this one is complete; that it is still in the buffer is no longer its own matter.
        self.report();
        self.leave_idle();
        let websocket = handshake.and_then(|handshake| Some((handshake, self.session()?)));
        let started = self.service.clock.now();
        let inbound = self.mailbox.inbound.borrow();
        let bytes = inbound.head();
        let line = head.line.slice(bytes);
        let number = self.service.meter.request_started(line);
        let limit = self.service.limits.request_timeout.and_then(|timeout| started.checked_add(timeout));
        self.in_flight = Some(InFlight { number, started, limit });
        self.pace = BodyPace::default();
        self.phase = Phase::Exchange { progress: None };
        let method = head.method.slice(bytes);
        let is_complete = inbound.body_end() == BodyEnd::Reached;
        let epoch = self.mailbox.begin(RequestTraits {
            version: head.version,
            persistence: head.persistence,
            expectation: if is_complete { Expectation::None } else { head.expectation },
            trailers: head.trailers,
            reply_body: if method == b"HEAD" { ReplyBody::Withheld } else { ReplyBody::Sent },
        });
        let exchange = Exchange::new(Rc::clone(&self.mailbox), epoch);
        let provenance = head.provenance;
        with_headers(bytes, head, fields, |headers| {
            let head = RequestHead {
                method,
                path: head.path.map_or(b"/", |path| path.slice(bytes)),
                query: head.query.slice(bytes),
                version: head.version,
                headers,
                body: head.body,
                offers: Offers {
                    early_hints: head.version == Version::Http11,
                    trailers: head.trailers == Trailers::Wanted,
                    files: true,
                },
                client: &self.info.peer,
                scheme: self.info.scheme,
                prefix: b"",
                prefix_place: PrefixPlace::TakenOff,
                connection: &self.info,
            };
            let call = |head: &RequestHead<'_>| {
                let facts = RequestFacts { line, head: Some(head), connection: &self.info };
                self.mailbox.begin_log_entry(&facts);
                match websocket {
                    None => self.app.call(head, exchange),
                    Some((handshake, session)) => {
                        self.app.websocket(head, WebSocket::new(exchange, session, handshake));
                    }
                }
            };
            let forwarding = &self.service.policy.forwarding;
            match provenance {
                Provenance::Direct if !forwarding.reads_rare_fields() => call(&head),
                Provenance::Direct | Provenance::Forwarded => forwarding.apply(&head, call),
            }
        });
        drop(inbound);
        self.mailbox.inbound.borrow_mut().unpin_head();
    }
}

/// Makes the list of fields, on the stack where there are few.
fn with_headers(bytes: &[u8], head: &Head, fields: &[FieldSpan], call: impl FnOnce(&[Header<'_>])) {
    let added = head.added_host.map(|host| Header { name: HOST, value: host.slice(bytes) });
    let sent = fields.iter().map(|it| Header { name: it.name.slice(bytes), value: it.value.slice(bytes) });
    let headers = added.into_iter().chain(sent);
    if fields.len() < FEW_FIELDS {
        let mut few = [Header { name: &[], value: &[] }; FEW_FIELDS];
        let mut count = 0;
        for (place, header) in few.iter_mut().zip(headers) {
            *place = header;
            count += 1;
        }
        call(&few[..count]);
    } else {
        call(&headers.collect::<Vec<_>>());
    }
}
