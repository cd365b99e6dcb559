//! From the settings of the access log to the engine's log: the format worked out, the file open, the clock on the wall at hand.

use std::{cell::Cell, io, time::Duration};

use jiff::{Timestamp, tz::TimeZone};
use nix::time::{ClockId, clock_gettime};
use protocol::{
    scoreboard::Record,
    settings::access_log::{
        AccessLogDestination, AccessLogFormat, AccessLogSettings, Atom, Piece, Variable, pieces,
    },
};
use worker_server::{AccessLog, AccessOutput, Format, LocalTime, Notation, OutcomeFact, RequestFact, Step};

use crate::{
    access_log_writer::{AccessLogWriter, FileSink, LineSink},
    error::{StartError, StartErrorKind},
};

/// How long the end of a worker waits for the last lines to be written.
pub const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// Opens the log that the settings ask for. `logger` is what writes to a logger of Python's, where there is a Python.
///
/// # Errors
/// [`StartError`] when the file cannot be opened, or for a logger where there is no Python.
pub fn open<S: LineSink>(
    settings: &AccessLogSettings,
    record: &'static Record,
    logger: impl FnOnce(&str) -> Option<S>,
) -> Result<(AccessLog, AccessLogWriter), StartError> {
    let failed = |what: String, error: io::Error| {
        StartError::new(StartErrorKind::Boot, format!("the access log {what} cannot be opened: {error}"))
    };
    let (started, format) = match &settings.destination {
        AccessLogDestination::Stdout => {
            let sink = FileSink::stdout().map_err(|error| failed("on standard output".to_owned(), error))?;
            (AccessLogWriter::start(sink, record), format(&settings.format)?)
        }
        AccessLogDestination::File(path) => {
            let sink = FileSink::open(path).map_err(|error| failed(path.display().to_string(), error))?;
            (AccessLogWriter::start(sink, record), format(&settings.format)?)
        }
        AccessLogDestination::PythonLogger(name) => {
            let sink = logger(name).ok_or_else(|| {
                StartError::boot(format!(
                    "the access log cannot go to the logger {name}: this is no Python worker"
                ))
            })?;
            (AccessLogWriter::start(sink, record), logger_format(&settings.format)?)
        }
    };
    let writer = started.map_err(|error| failed("has no thread and".to_owned(), error))?;
    let zone = TimeZone::system();
    let output = Output { writer: writer.clone(), zone, offset: Cell::new((0, 0)) };
    Ok((AccessLog::new(format, output), writer))
}

/// Whether a logger gets uvicorn's record instead of a line.
#[must_use]
pub fn is_record(format: &AccessLogFormat) -> bool {
    *format == AccessLogFormat::Uvicorn
}

fn logger_format(format_of_lines: &AccessLogFormat) -> Result<Format, StartError> {
    if is_record(format_of_lines) { Ok(Format::uvicorn_record()) } else { format(format_of_lines) }
}

fn format(format: &AccessLogFormat) -> Result<Format, StartError> {
    match format {
        AccessLogFormat::Uvicorn => Ok(Format::uvicorn()),
        AccessLogFormat::Json => Ok(Format::json(std::process::id())),
        AccessLogFormat::Template(template) => {
            let pieces = pieces(template).map_err(|error| StartError::boot(error.to_string()))?;
            Ok(Format::new(Notation::Text, pieces.into_iter().map(step).collect()))
        }
    }
}

fn step(piece: Piece) -> Step {
    match piece {
        Piece::Literal(text) => Step::Literal(text.into_bytes()),
        Piece::Atom(atom) => step_of_atom(atom),
        Piece::RequestField(name) => field(&name),
        Piece::ReplyField(name) => Step::ReplyField(name.into_bytes()),
        Piece::Variable(variable) => Step::Request(fact(variable)),
    }
}

fn step_of_atom(atom: Atom) -> Step {
    match atom {
        Atom::ClientAddress => Step::Request(RequestFact::ClientAddress),
        Atom::Dash => Step::Literal(b"-".to_vec()),
        Atom::User => Step::Request(RequestFact::User),
        Atom::Time => Step::Outcome(OutcomeFact::CommonLogTime),
        Atom::RequestLine => Step::Request(RequestFact::Line),
        Atom::Method => Step::Request(RequestFact::Method),
        Atom::Path => Step::Request(RequestFact::Path),
        Atom::Query => Step::Request(RequestFact::Query),
        Atom::Protocol => Step::Request(RequestFact::Protocol),
        Atom::Status => Step::Outcome(OutcomeFact::Status),
        Atom::ReplyBytes => Step::Outcome(OutcomeFact::ReplyBytes),
        Atom::ReplyBytesOrDash => Step::Outcome(OutcomeFact::ReplyBytesOrDash),
        Atom::Referer => field("referer"),
        Atom::UserAgent => field("user-agent"),
        Atom::Seconds => Step::Outcome(OutcomeFact::Seconds),
        Atom::Milliseconds => Step::Outcome(OutcomeFact::Milliseconds),
        Atom::Microseconds => Step::Outcome(OutcomeFact::Microseconds),
        Atom::DecimalSeconds => Step::Outcome(OutcomeFact::DecimalSeconds),
        Atom::ProcessId => Step::Literal(format!("<{}>", std::process::id()).into_bytes()),
    }
}

fn field(name: &str) -> Step {
    Step::Request(RequestFact::Field(name.as_bytes().to_vec()))
}

fn fact(variable: Variable) -> RequestFact {
    match variable {
        Variable::RemoteAddress => RequestFact::ClientAddress,
        Variable::RemotePort => RequestFact::ClientPort,
        Variable::RemoteUser => RequestFact::User,
        Variable::RequestMethod => RequestFact::Method,
        Variable::PathInfo => RequestFact::Path,
        Variable::QueryString => RequestFact::Query,
        Variable::RawUri => RequestFact::Target,
        Variable::ServerProtocol => RequestFact::Protocol,
        Variable::ServerAddress => RequestFact::ServerAddress,
        Variable::ServerPort => RequestFact::ServerPort,
        Variable::UrlScheme => RequestFact::Scheme,
    }
}

/// The queue, and the clock of this machine in the zone of TZ, else of /etc/localtime, as it was when the worker started: an
/// application that sets TZ for itself does not move the log.
struct Output {
    writer: AccessLogWriter,
    zone: TimeZone,
    /// The offset from UTC in a minute since 1970: offsets change at whole minutes.
    offset: Cell<(u64, i32)>,
}

impl AccessOutput for Output {
    fn now(&self) -> LocalTime {
        let now = clock_gettime(ClockId::CLOCK_REALTIME_COARSE).map_or(Duration::ZERO, Duration::from);
        let minute = now.as_secs() / 60;
        let (known, mut utc_offset_seconds) = self.offset.get();
        if known != minute {
            let moment = i64::try_from(now.as_secs()).ok().and_then(|it| Timestamp::from_second(it).ok());
            utc_offset_seconds = moment.map_or(0, |moment| self.zone.to_offset(moment).seconds());
            self.offset.set((minute, utc_offset_seconds));
        }
        LocalTime { unix_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX), utc_offset_seconds }
    }

    fn write(&self, line: &[u8]) {
        self.writer.push(line);
    }
}
