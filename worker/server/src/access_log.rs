//! The access log: one line for each request, put together from what the format asks for and from nothing else. What is known at
//! the request's beginning is written down then, already escaped, because the head does not outlive it; the rest follows at its
//! end. Knows no file and no clock: the driver gives both as one [`AccessOutput`].

mod basic_user;
mod escape;
mod facts;
mod format;
#[cfg(test)]
mod tests;
mod time;

use std::{cell::RefCell, fmt, ops::Range, time::Duration};

pub(crate) use self::facts::RequestFacts;
use self::{escape::LEAST_BYTES, time::append_digits};
pub use self::{
    format::{Format, LINE_BYTES, Notation, OutcomeFact, RequestFact, Step},
    time::LocalTime,
};
use crate::{RequestOutcome, http1::reply};

/// Entries kept for the next requests: as many as requests are in flight in an ordinary worker.
const SPARE_ENTRIES: usize = 64;
/// What nginx logs for a client that left before it was answered.
const STATUS_OF_NONE: u16 = 499;

/// Where the lines go, and what time it is there. Called on the request path: must not block.
pub trait AccessOutput: Send + 'static {
    /// The time on the wall.
    fn now(&self) -> LocalTime;
    /// Takes one line, its end included, of at most [`LINE_BYTES`].
    fn write(&self, line: &[u8]);
}

/// The log of one worker.
pub struct AccessLog {
    format: Format,
    output: Box<dyn AccessOutput>,
    #[expect(clippy::vec_box, reason = "an entry goes to its request and comes back without being copied")]
    spares: RefCell<Vec<Box<Entry>>>,
    line: RefCell<Vec<u8>>,
}

/// A line in the making.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// Values, one after the other.
    bytes: Vec<u8>,
    /// Where the value of each step is that is no literal and no outcome, in the order of the steps.
    values: Vec<Option<Range<usize>>>,
    /// What values may still take, beyond what each of them has for its own.
    room: usize,
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AccessLog").field("format", &self.format).finish_non_exhaustive()
    }
}

impl AccessLog {
    /// A log of this format.
    #[must_use]
    pub fn new(format: Format, output: impl AccessOutput) -> Self {
        Self { format, output: Box::new(output), spares: RefCell::default(), line: RefCell::default() }
    }

    /// A request begins: notes what the format asks for.
    pub(crate) fn begin(&self, facts: &RequestFacts<'_>) -> Box<Entry> {
        let mut entry = self.spares.borrow_mut().pop().unwrap_or_default();
        entry.room = self.format.room;
        let mut scratch = self.line.borrow_mut();
        for step in &self.format.steps {
            match step {
                Step::Literal(_) | Step::Outcome(_) => {}
                Step::ReplyField(_) => entry.values.push(None),
                Step::Request(fact) => {
                    let value = facts.value(fact, &mut scratch);
                    let place = value.map(|value| entry.append(value, self.format.notation));
                    entry.values.push(place);
                }
            }
        }
        entry
    }

    /// Whether [`AccessLog::reply_field`] has to be called for the fields of a reply's head.
    pub(crate) fn wants_reply_fields(&self) -> bool {
        self.format.wants_reply_fields
    }

    /// Notes a field of the reply's head if the format asks for it; the first of a name counts. `name` is in lower case.
    pub(crate) fn reply_field(&self, entry: &mut Entry, name: &[u8], value: &[u8]) {
        let mut place = 0;
        for step in &self.format.steps {
            match step {
                Step::Literal(_) | Step::Outcome(_) => continue,
                Step::ReplyField(wanted) if wanted == name && entry.values[place].is_none() => {
                    entry.values[place] = Some(entry.append(value, self.format.notation));
                }
                Step::ReplyField(_) | Step::Request(_) => {}
            }
            place += 1;
        }
    }

    /// The same for fields that are not on the wire yet.
    pub(crate) fn reply_fields<'f>(
        &self,
        entry: &mut Entry,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
    ) {
        for (name, value) in fields {
            self.reply_field(entry, name, value);
        }
    }

    /// The request has ended: its line is written.
    pub(crate) fn finish(&self, mut entry: Box<Entry>, outcome: &RequestOutcome) {
        let notation = self.format.notation;
        let mut line = self.line.borrow_mut();
        line.clear();
        let mut values = entry.values.iter();
        for step in &self.format.steps {
            match step {
                Step::Literal(text) => line.extend_from_slice(text),
                Step::Outcome(fact) => self.append_outcome(&mut line, *fact, outcome),
                Step::Request(_) | Step::ReplyField(_) => match values.next() {
                    Some(Some(place)) => line.extend_from_slice(&entry.bytes[place.clone()]),
                    Some(None) | None => escape::append_nothing(&mut line, notation),
                },
            }
        }
        line.push(b'\n');
        self.output.write(&line);
        drop(line);
        entry.bytes.clear();
        entry.values.clear();
        let mut spares = self.spares.borrow_mut();
        if spares.len() < SPARE_ENTRIES {
            spares.push(entry);
        }
    }

    fn append_outcome(&self, line: &mut Vec<u8>, fact: OutcomeFact, outcome: &RequestOutcome) {
        let status = if outcome.status == 0 { STATUS_OF_NONE } else { outcome.status };
        let duration = outcome.duration;
        match fact {
            OutcomeFact::CommonLogTime => self.output.now().append_common_log(line),
            OutcomeFact::Rfc3339Time => self.output.now().append_rfc_3339(line),
            OutcomeFact::Status => append_number(line, status.into()),
            OutcomeFact::StatusAndReason => {
                append_number(line, status.into());
                line.push(b' ');
                line.extend_from_slice(reply::reason(status).as_bytes());
            }
            OutcomeFact::ReplyBytesOrDash if outcome.reply_bytes == 0 => line.push(b'-'),
            OutcomeFact::ReplyBytesOrDash | OutcomeFact::ReplyBytes => {
                append_number(line, outcome.reply_bytes);
            }
            OutcomeFact::RequestBytes => append_number(line, outcome.request_bytes),
            OutcomeFact::Seconds => append_number(line, duration.as_secs()),
            OutcomeFact::Milliseconds => append_number(line, whole(duration.as_millis())),
            OutcomeFact::Microseconds => append_number(line, whole(duration.as_micros())),
            OutcomeFact::DecimalSeconds => append_decimal_seconds(line, duration),
            OutcomeFact::Aborted => {
                line.extend_from_slice(if outcome.aborted { b"true" } else { b"false" });
            }
        }
    }
}

impl Entry {
    /// Writes a value down, escaped and cut to what the line still takes.
    fn append(&mut self, value: &[u8], notation: Notation) -> Range<usize> {
        let start = self.bytes.len();
        escape::append(&mut self.bytes, value, notation, LEAST_BYTES + self.room);
        let used = self.bytes.len() - start;
        self.room -= used.saturating_sub(LEAST_BYTES);
        start..self.bytes.len()
    }
}

fn append_number(line: &mut Vec<u8>, number: u64) {
    line.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn append_decimal_seconds(line: &mut Vec<u8>, duration: Duration) {
    append_number(line, duration.as_secs());
    line.push(b'.');
    append_digits::<6>(line, duration.subsec_micros().into());
}

fn whole(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
