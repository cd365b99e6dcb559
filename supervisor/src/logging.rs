//! Log lines: tracing events become text or JSON, pass a bounded queue and are written to stderr by a thread of their own. A
//! reader that stalls costs lines, which are counted, and never time of the deciding thread.

use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal, Write as _},
    os::fd::AsFd as _,
    sync::{
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel},
    },
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::{Event, Level, Subscriber, field};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter, format, time::FormatTime},
    registry::LookupSpan,
};

use crate::{config::values::LogFormat, error::ExpectedError};

/// Lines that wait to be written.
const QUEUE_LINES: usize = 1024;
/// Their bytes: a stack dump is up to 56 KiB, and the memory of a stalled log must be bounded.
const QUEUE_BYTES: usize = 1024 * 1024;
/// A program that ends looks this often whether its last lines are written.
const FLUSH_LOOK: Duration = Duration::from_millis(20);
/// And never waits for more looks than this.
const FLUSH_LOOKS: u32 = 100;

static DROPPED_LINES: AtomicU64 = AtomicU64::new(0);
static QUEUED_BYTES: AtomicUsize = AtomicUsize::new(0);
static WRITTEN_LINES: AtomicU64 = AtomicU64::new(0);

/// Lines that were lost because nobody read them in time.
#[must_use]
pub fn dropped_lines() -> u64 {
    DROPPED_LINES.load(Relaxed)
}

/// The one log of the process.
#[derive(Debug)]
pub struct Log {
    queue: Queue,
    look: Look,
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// The sentence alone, coloured by its level.
    Terminal(Colour),
    /// A time stamp, the level, the sentence.
    Text,
    /// What journald reads: the priority in angle brackets; it stamps the time itself.
    Journal,
    /// One object a line.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colour {
    On,
    Off,
}

impl Log {
    /// Starts the writer thread and makes this the destination of all tracing events of the process.
    ///
    /// # Errors
    /// No thread could be made.
    pub fn start(level: Level, format: LogFormat) -> io::Result<Self> {
        let look = look(format);
        let (sender, receiver) = sync_channel(QUEUE_LINES);
        let queue = Queue(sender);
        std::thread::Builder::new()
            .name("log".into())
            .stack_size(64 * 1024)
            .spawn(move || write_lines(&receiver))?;
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            // The colours are LineFormat's.
            .with_ansi(false)
            .with_writer(queue.clone())
            .event_format(LineFormat { look })
            .finish();
        // Only a second log in one process could fail here, and then the first one serves.
        let _first_one_wins = tracing::subscriber::set_global_default(subscriber);
        Ok(Self { queue, look })
    }

    /// Tells an error that ends the program.
    pub fn report(&self, error: &ExpectedError) {
        match self.look {
            Look::Json => tracing::error!(
                event = "error",
                id = error.id,
                help = error.help.join("; "),
                "{}",
                error.message
            ),
            Look::Terminal(_) | Look::Text | Look::Journal => {
                self.queue.push(format!("{error}\n").into_bytes());
            }
        }
    }

    /// Waits until what was logged is written, but not for a reader that has stalled.
    pub fn flush(&self) {
        let (done, written) = channel();
        if self.queue.0.try_send(Job::Flush(done)).is_err() {
            return;
        }
        for _ in 0..FLUSH_LOOKS {
            let before = WRITTEN_LINES.load(Relaxed);
            let over = written.recv_timeout(FLUSH_LOOK) != Err(RecvTimeoutError::Timeout);
            // A writer that was not given the processor for a moment is no stalled reader.
            if over || (WRITTEN_LINES.load(Relaxed) == before && !takes_more()) {
                return;
            }
        }
    }
}

/// Whether a write to stderr would be taken now.
fn takes_more() -> bool {
    let stderr = io::stderr();
    let mut descriptors = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    let _nothing_ready = poll(&mut descriptors, PollTimeout::ZERO);
    descriptors[0].revents().is_some_and(|ready| !ready.is_empty())
}

enum Job {
    Line(Vec<u8>),
    Flush(Sender<()>),
}

#[derive(Debug, Clone)]
struct Queue(SyncSender<Job>);

impl Queue {
    fn push(&self, line: Vec<u8>) {
        let bytes = line.len();
        if QUEUED_BYTES.fetch_add(bytes, Relaxed) + bytes <= QUEUE_BYTES {
            match self.0.try_send(Job::Line(line)) {
                Ok(()) => return,
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
            }
        }
        QUEUED_BYTES.fetch_sub(bytes, Relaxed);
        DROPPED_LINES.fetch_add(1, Relaxed);
    }
}

/// tracing-subscriber writes each event by a single call.
impl io::Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn write_lines(jobs: &Receiver<Job>) {
    let mut told_dropped = 0;
    for job in jobs {
        match job {
            Job::Line(line) => {
                QUEUED_BYTES.fetch_sub(line.len(), Relaxed);
                // Nobody can be told that stderr is gone.
                let _lost = io::stderr().write_all(&line);
                WRITTEN_LINES.fetch_add(1, Relaxed);
            }
            Job::Flush(done) => {
                let _nobody_waits = done.send(());
            }
        }
        let dropped = dropped_lines();
        if dropped > told_dropped {
            let _lost = writeln!(
                io::stderr(),
                "{} log lines were dropped: nobody read them in time",
                dropped - told_dropped
            );
            told_dropped = dropped;
        }
    }
}

fn look(format: LogFormat) -> Look {
    match format {
        LogFormat::Json => Look::Json,
        LogFormat::Text => Look::Text,
        LogFormat::Auto if io::stderr().is_terminal() => {
            let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            let able = std::env::var_os("TERM").is_some_and(|term| term != "dumb");
            Look::Terminal(if wanted && able { Colour::On } else { Colour::Off })
        }
        LogFormat::Auto if goes_to_journal() => Look::Journal,
        LogFormat::Auto => Look::Text,
    }
}

/// systemd names device and inode of the stream that it connected; a redirected stderr is another one.
fn goes_to_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    nix::sys::stat::fstat(io::stderr()).is_ok_and(|stat| format!("{}:{}", stat.st_dev, stat.st_ino) == named)
}

struct LineFormat {
    look: Look,
}

impl<S, N> FormatEvent<S, N> for LineFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut line: format::Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        let mut time = String::new();
        tracing_subscriber::fmt::time::SystemTime.format_time(&mut format::Writer::new(&mut time))?;
        line.write_str(&render(self.look, level, &time, &fields))
    }
}

/// What an event says. `message` is a whole sentence; `detail` may have many lines; the others are for machines.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    detail: String,
    others: serde_json::Map<String, serde_json::Value>,
}

impl Fields {
    fn put(&mut self, name: &str, value: serde_json::Value) {
        let text = |value: serde_json::Value| match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        match name {
            "message" => self.message = text(value),
            "detail" => self.detail = text(value),
            _ => {
                self.others.insert(name.to_owned(), value);
            }
        }
    }
}

impl field::Visit for Fields {
    fn record_str(&mut self, field: &field::Field, value: &str) {
        self.put(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &field::Field, value: u64) {
        self.put(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &field::Field, value: i64) {
        self.put(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &field::Field, value: bool) {
        self.put(field.name(), value.into());
    }

    fn record_debug(&mut self, field: &field::Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}").into());
    }
}

fn render(look: Look, level: Level, time: &str, fields: &Fields) -> String {
    let message = escaped(&fields.message);
    let mut line = match look {
        Look::Json => return render_json(level, time, fields),
        Look::Text => format!("{time} {level:<5} {message}\n"),
        Look::Journal => format!("<{}>{message}\n", priority(level)),
        Look::Terminal(colour) => {
            let (start, end) = match (colour, level) {
                (Colour::On, Level::ERROR) => ("\x1b[31m", "\x1b[0m"),
                (Colour::On, Level::WARN) => ("\x1b[33m", "\x1b[0m"),
                (Colour::On | Colour::Off, _) => ("", ""),
            };
            format!("{start}{message}{end}\n")
        }
    };
    let prefix = if look == Look::Journal { format!("<{}>", priority(level)) } else { String::new() };
    for detail in fields.detail.lines() {
        // Writing to a String cannot fail.
        let _ = writeln!(line, "{prefix}    {}", escaped(detail));
    }
    line
}

fn render_json(level: Level, time: &str, fields: &Fields) -> String {
    let mut object = serde_json::Map::new();
    object.insert("time".into(), time.into());
    object.insert("level".into(), level.as_str().to_ascii_lowercase().into());
    object.insert("message".into(), fields.message.as_str().into());
    object.extend(fields.others.clone());
    if !fields.detail.is_empty() {
        object.insert("detail".into(), fields.detail.as_str().into());
    }
    format!("{}\n", serde_json::Value::Object(object))
}

/// syslog's numbers.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// What an application or a client sent must not forge lines or steer a terminal: control characters, and those that change
/// the direction of text or begin a line, are shown by their number.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        let steers =
            matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character == '\t' || !(character.is_control() || steers) {
            safe.push(character);
        } else {
            safe.extend(character.escape_unicode());
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::{Colour, Fields, Look, render};

    fn shown(look: Look) -> String {
        let mut fields = Fields::default();
        fields.put("message", "worker 1 said \u{1b}[31m\nred".into());
        fields.put("detail", "File \"a.py\"\n  boom\r".into());
        fields.put("pid", 7.into());
        render(look, Level::WARN, "2026-01-02T03:04:05.000006Z", &fields)
    }

    #[test]
    fn every_look_shows_the_same_and_escapes_what_steers() {
        let shown =
            [Look::Text, Look::Journal, Look::Terminal(Colour::On), Look::Terminal(Colour::Off), Look::Json]
                .map(shown);
        let shown = shown.join("\n");
        assert_eq!(shown, include_str!("../snapshots/log_looks.txt"), "\n{shown}");
    }
}
