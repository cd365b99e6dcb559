//! What all connections of one worker share: limits, policy, meter, clock, timer, drain, spare buffers and the cached Date header.
//! One per thread; knows no connection and no app.

use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
    time::Instant,
};

use hyper::{
    header::{DATE, HeaderMap, HeaderName, HeaderValue, SERVER as SERVER_NAME},
    rt::Timer,
};

use crate::{
    AccessLog, AutomaticField, Drain, Limits, Meter, Policy, RequestOutcome,
    access_log::Entry,
    gate::Gate,
    http1::{date, head::FieldSpan, reply::ReplyFacts},
    inbound::BUFFER_BYTES,
    websocket::{deflate::DeflateStates, receiver},
};

/// The name in the Server header.
const SERVER: &[u8] = b"server: supervise\r\n";
/// The same as a value alone.
const SERVER_VALUE: HeaderValue = HeaderValue::from_static("supervise");
/// Spare buffers kept of each kind. They are lent for a turn, so a few serve thousands of connections.
const SPARE_BUFFERS: usize = 64;
/// A larger spare buffer is given back to the allocator.
const SPARE_BUFFER_BYTES: usize = 512 * 1024;
/// Capacity of a fresh buffer for replies: a head and a small body.
const REPLY_BYTES: usize = 2 * 1024;

/// The time, as cheaply as the driver can tell it: a reactor may read the clocks once a turn.
pub trait Clock: 'static {
    /// Monotonic time. The duration of a request is the difference of two readings, so a clock that stands still for a whole
    /// turn measures nothing of an app that answers within it.
    fn now(&self) -> Instant;
    /// Whole seconds since 1970-01-01T00:00:00Z, for the Date header.
    fn unix_seconds(&self) -> u64;
}

/// What all connections of one worker share.
pub struct Service {
    pub(crate) limits: Limits,
    pub(crate) policy: Policy,
    pub(crate) meter: Rc<dyn Meter>,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) timer: Box<dyn Timer>,
    pub(crate) drain: Drain,
    /// Where requests wait for their turn; `None` where all are begun at once.
    pub(crate) gate: Option<Rc<Gate>>,
    access_log: OnceCell<AccessLog>,
    /// None where replies have no Date but the application's.
    date: Option<RefCell<DateField>>,
    /// The Server field; empty where replies have none but the application's.
    server_line: &'static [u8],
    /// The fields that the operator added, as lines.
    added_lines: Vec<u8>,
    read_buffers: RefCell<Vec<Vec<u8>>>,
    reply_buffers: RefCell<Vec<Vec<u8>>>,
    websocket_buffers: RefCell<Vec<Vec<u8>>>,
    pub(crate) deflate_states: Rc<DeflateStates>,
    /// The list of the request that is being begun; taken out meanwhile.
    field_list: Cell<Vec<FieldSpan>>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Service")
            .field("limits", &self.limits)
            .field("drain", &self.drain)
            .finish_non_exhaustive()
    }
}

impl Service {
    /// Bundles what the driver provides.
    pub fn new(
        limits: Limits,
        policy: Policy,
        meter: Rc<dyn Meter>,
        clock: impl Clock,
        timer: impl Timer + 'static,
        drain: Drain,
    ) -> Rc<Self> {
        let has = |field| policy.reply_fields.automatic.contains(&field);
        let gate = limits.admission.map(|it| {
            let meter = Rc::clone(&meter);
            let on_change = move |waiting| meter.queue_length_changed(waiting);
            Gate::new(it.concurrent_requests, it.queued_requests, on_change)
        });
        Rc::new(Self {
            gate,
            limits,
            meter,
            clock: Box::new(clock),
            timer: Box::new(timer),
            drain,
            access_log: OnceCell::new(),
            date: has(AutomaticField::Date).then(|| RefCell::new(DateField::new())),
            server_line: if has(AutomaticField::Server) { SERVER } else { b"" },
            added_lines: lines(&policy.reply_fields.added),
            read_buffers: RefCell::default(),
            reply_buffers: RefCell::default(),
            websocket_buffers: RefCell::default(),
            deflate_states: Rc::default(),
            field_list: Cell::default(),
            policy,
        })
    }

    /// The handle by which all connections are told to finish.
    #[must_use]
    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Logs each request from now on. Called once, before the first connection; a second log is not taken.
    pub fn log_access(&self, log: AccessLog) {
        let _has_one = self.access_log.set(log);
    }

    /// The access log, if there is one.
    pub(crate) fn access_log(&self) -> Option<&AccessLog> {
        self.access_log.get()
    }

    /// Writes the line of a request that has ended.
    pub(crate) fn finish_log_entry(&self, entry: Option<Box<Entry>>, outcome: &RequestOutcome) {
        if let (Some(log), Some(entry)) = (self.access_log(), entry) {
            log.finish(entry, outcome);
        }
    }

    /// A buffer to read into, zeroed once in its life.
    pub(crate) fn read_buffer(&self) -> Vec<u8> {
        self.read_buffers.borrow_mut().pop().unwrap_or_else(|| vec![0; BUFFER_BYTES])
    }

    /// Takes a read buffer back.
    pub(crate) fn spare_read_buffer(&self, buffer: Vec<u8>) {
        keep_spare(&self.read_buffers, buffer);
    }

    /// A buffer for the messages of a WebSocket, zeroed once in its life.
    pub(crate) fn websocket_buffer(&self) -> Vec<u8> {
        self.websocket_buffers.borrow_mut().pop().unwrap_or_else(|| vec![0; receiver::BUFFER_BYTES])
    }

    /// Takes a buffer for messages back.
    pub(crate) fn spare_websocket_buffer(&self, buffer: Vec<u8>) {
        keep_spare(&self.websocket_buffers, buffer);
    }

    /// Gives an output without a buffer one.
    pub(crate) fn prepare(&self, bytes: &mut Vec<u8>) {
        if bytes.capacity() == 0 {
            *bytes = self.reply_buffers.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(REPLY_BYTES));
        }
    }

    /// Takes an empty reply buffer back.
    pub(crate) fn spare_reply_buffer(&self, buffer: Vec<u8>) {
        keep_spare(&self.reply_buffers, buffer);
    }

    /// A list for the fields of a head.
    pub(crate) fn field_list(&self) -> Vec<FieldSpan> {
        self.field_list.take()
    }

    /// Takes the list back.
    pub(crate) fn spare_field_list(&self, fields: Vec<FieldSpan>) {
        self.field_list.set(fields);
    }

    /// Appends the Date and Server fields that the app has not set, and those that the operator added.
    pub(crate) fn stamp(&self, out: &mut Vec<u8>, facts: &ReplyFacts) {
        if !facts.has_date
            && let Some(date) = &self.date
        {
            date.borrow_mut().append(out, self.clock.unix_seconds());
        }
        if !facts.has_server {
            out.extend_from_slice(self.server_line);
        }
        out.extend_from_slice(&self.added_lines);
    }
}

impl Service {
    /// Adds the Date and Server fields that the app has not set, and those that the operator added.
    pub(crate) fn stamp_fields(&self, fields: &mut HeaderMap, facts: &ReplyFacts) {
        if !facts.has_date
            && let Some(date) = &self.date
        {
            fields.insert(DATE, date.borrow_mut().value(self.clock.unix_seconds()));
        }
        if !facts.has_server && !self.server_line.is_empty() {
            fields.insert(SERVER_NAME, SERVER_VALUE);
        }
        for (name, value) in &self.policy.reply_fields.added {
            // The driver gives valid ones.
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
                fields.append(name, value);
            }
        }
    }
}

/// Fields as they stand in a head.
fn lines(fields: &[(String, String)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| format!("{name}: {value}\r\n").into_bytes()).collect()
}

fn keep_spare(spares: &RefCell<Vec<Vec<u8>>>, buffer: Vec<u8>) {
    let mut spares = spares.borrow_mut();
    if spares.len() < SPARE_BUFFERS && buffer.capacity() <= SPARE_BUFFER_BYTES {
        spares.push(buffer);
    }
}

/// The Date field of one second.
struct DateField {
    unix_seconds: u64,
    line: [u8; DATE_LINE_BYTES],
    /// For HTTP/2, made when first asked for.
    value: Option<HeaderValue>,
}

const DATE_NAME: &[u8] = b"date: ";
const DATE_LINE_BYTES: usize = DATE_NAME.len() + date::DATE_BYTES + 2;

impl DateField {
    fn new() -> Self {
        let mut line = [0; DATE_LINE_BYTES];
        line[..DATE_NAME.len()].copy_from_slice(DATE_NAME);
        line[DATE_LINE_BYTES - 2..].copy_from_slice(b"\r\n");
        let mut field = Self { unix_seconds: 0, line, value: None };
        field.set(0);
        field
    }

    fn append(&mut self, out: &mut Vec<u8>, unix_seconds: u64) {
        if unix_seconds != self.unix_seconds {
            self.set(unix_seconds);
        }
        out.extend_from_slice(&self.line);
    }

    fn value(&mut self, unix_seconds: u64) -> HeaderValue {
        if unix_seconds != self.unix_seconds {
            self.set(unix_seconds);
        }
        let line = &self.line[DATE_NAME.len()..DATE_LINE_BYTES - 2];
        // A date is visible ASCII.
        self.value
            .get_or_insert_with(|| HeaderValue::from_bytes(line).unwrap_or(HeaderValue::from_static("")))
            .clone()
    }

    fn set(&mut self, unix_seconds: u64) {
        self.unix_seconds = unix_seconds;
        self.value = None;
        self.line[DATE_NAME.len()..DATE_LINE_BYTES - 2].copy_from_slice(&date::imf_fixdate(unix_seconds));
    }
}
