//! The kinds of value that a setting can have, each with one text form that flags, environment and YAML share.
//! Knows no setting by name.

mod choice;
pub mod tls;

use std::{fmt, marker::PhantomData, path::PathBuf, str::FromStr};

use serde::{Deserialize, Deserializer, de};

pub use self::choice::Choice;

/// Why a text is no such value: a sentence that says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueError(pub String);

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ValueError {}

/// Permission bits of a unix socket that nobody said any of: the proxy in front runs as another user, and the directory decides who
/// may come in. uvicorn's, and gunicorn's.
pub const DEFAULT_UNIX_SOCKET_MODE: u32 = 0o666;

fn refuse<T>(message: impl Into<String>) -> Result<T, ValueError> {
    Err(ValueError(message.into()))
}

/// A length of time: `30`, `30s`, `500ms`, `5m`, `1h`, `0.5`. A bare number is seconds, as in gunicorn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan {
    /// In milliseconds, at least 1.
    pub ms: u64,
}

impl FromStr for TimeSpan {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let factor = match &text[digits.len()..] {
            "ms" => 1.0,
            "" | "s" => 1e3,
            "m" => 60e3,
            "h" => 3600e3,
            _ => return refuse(format!("`{text}` is no time: write `30`, `30s`, `500ms`, `5m` or `1h`")),
        };
        let Ok(number) = digits.parse::<f64>() else {
            return refuse(format!("`{text}` is no time: write `30`, `30s`, `500ms`, `5m` or `1h`"));
        };
        let ms = (number * factor).round();
        // A year: what is longer is a mistake, and sums of times must not overflow.
        if !(1.0..=365.0 * 24.0 * 3600e3).contains(&ms) {
            return refuse(format!("`{text}` is out of range: a time is between 1ms and a year"));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and a year")]
        Ok(Self { ms: ms as u64 })
    }
}

/// A number of bytes: `8192`, `64KiB`, `10MiB`, `1GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let factor: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            _ => return refuse(format!("`{text}` is no size: write `8192`, `64KiB`, `10MiB` or `1GiB`")),
        };
        match digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)) {
            Some(bytes) => Ok(Self(bytes)),
            None => refuse(format!("`{text}` is no size: write `8192`, `64KiB`, `10MiB` or `1GiB`")),
        }
    }
}

/// How many workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerCount {
    /// As many as there are cores that this process may use: affinity and cgroup quota respected.
    Auto,
    /// So many.
    Number(u32),
}

impl FromStr for WorkerCount {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        // Half of the scoreboard's records: a reload may double the workers for a while.
        const MOST: u32 = 512;
        match text.parse::<u32>() {
            Ok(number @ 1..=MOST) => Ok(Self::Number(number)),
            Ok(_) => {
                refuse(format!("{text} workers are not possible: write a number from 1 to {MOST}, or `auto`"))
            }
            Err(_) if text == "auto" => Ok(Self::Auto),
            Err(_) => refuse(format!(
                "`{text}` is no number of workers: write a number from 1 to {MOST}, or `auto`"
            )),
        }
    }
}

/// A whole number from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Positive(pub u32);

impl FromStr for Positive {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.parse::<u32>() {
            Ok(number) if number > 0 => Ok(Self(number)),
            Ok(_) | Err(_) => refuse(format!("`{text}` is no whole number from 1")),
        }
    }
}

/// How many, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count(pub u64);

impl FromStr for Count {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        text.parse().map(Self).or_else(|_error| refuse(format!("`{text}` is no whole number from 0")))
    }
}

/// How many may wait: a whole number from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLength(pub u32);

impl FromStr for QueueLength {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        text.parse().map(Self).or_else(|_error| refuse(format!("`{text}` is no whole number from 0")))
    }
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindAddress {
    /// A host (name, IPv4 or IPv6 without brackets) and a port; port 0 lets the system choose.
    Tcp {
        /// Never empty.
        host: String,
        /// 0 lets the system choose.
        port: u16,
    },
    /// Path of a unix socket.
    Unix(PathBuf),
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for BindAddress {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.strip_prefix("//").unwrap_or(path) {
                "" => refuse("`unix:` needs a path: `unix:/run/app.sock`"),
                path => Ok(Self::Unix(path.into())),
            };
        }
        if text.starts_with("fd://") {
            return refuse(
                "sockets that are handed over (LISTEN_FDS) are served without being named: leave --bind out",
            );
        }
        let wrong = || {
            ValueError(format!(
                "`{text}` is no address: write `127.0.0.1:8000`, `[::1]:8000` or `unix:/path`"
            ))
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) => inner.to_owned(),
            None if host.contains([':', '/', '[', ']']) => return Err(wrong()),
            // As in gunicorn: `:8000` is every address.
            None if host.is_empty() => "0.0.0.0".to_owned(),
            None => host.to_owned(),
        };
        match port.parse() {
            Ok(port) => Ok(Self::Tcp { host, port }),
            Err(_) => refuse(format!("`{port}` in `{text}` is no port: write a number from 0 to 65535")),
        }
    }
}

/// Where `/metrics`, `/healthz` and `/readyz` are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsAddress {
    /// Nowhere.
    Off,
    /// At this host and port.
    At {
        /// Name or address.
        host: String,
        /// 0 lets the system choose.
        port: u16,
    },
}

impl FromStr for MetricsAddress {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text == "off" {
            return Ok(Self::Off);
        }
        match text.parse()? {
            BindAddress::Tcp { host, port } => Ok(Self::At { host, port }),
            BindAddress::Unix(_) => {
                refuse("metrics on a unix socket are not there yet: write `host:port` or `off`")
            }
        }
    }
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// Yes.
    On,
    /// No.
    Off,
}

impl FromStr for Switch {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "true" | "1" => Ok(Self::On),
            "false" | "0" => Ok(Self::Off),
            "yes" | "no" | "on" | "off" => {
                refuse(format!("`{text}` is a text here, as YAML 1.2 has it: write `true` or `false`"))
            }
            _ => refuse(format!("`{text}` is neither `true` nor `false`")),
        }
    }
}

/// `KEY=VALUE` for the workers' environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentEntry {
    /// Left of the first `=`.
    pub name: String,
    /// Right of it.
    pub value: String,
}

impl FromStr for EnvironmentEntry {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() && !text.contains('\0') => {
                Ok(Self { name: name.to_owned(), value: value.to_owned() })
            }
            Some(_) | None => refuse(format!("`{text}` is no environment entry: write `KEY=VALUE`")),
        }
    }
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLevel(pub tracing::Level);

impl FromStr for LogLevel {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.to_ascii_lowercase().as_str() {
            "error" => Ok(Self(tracing::Level::ERROR)),
            // Python's and gunicorn's spelling.
            "warn" | "warning" => Ok(Self(tracing::Level::WARN)),
            "info" => Ok(Self(tracing::Level::INFO)),
            "debug" => Ok(Self(tracing::Level::DEBUG)),
            "trace" => Ok(Self(tracing::Level::TRACE)),
            _ => refuse(format!("`{text}` is no log level: write error, warn, info, debug or trace")),
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Short on a terminal, priority prefixes under systemd, text elsewhere.
    Auto,
    /// One line of text with a time stamp.
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => refuse(format!("`{text}` is no log format: write auto, text or json")),
        }
    }
}

/// Reads a value from whatever scalar the YAML has: `30`, `"30"`, `0.5` and `true` all go through the text form.
struct ScalarVisitor<T>(PhantomData<T>);

impl<T: FromStr<Err = ValueError>> de::Visitor<'_> for ScalarVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a single value")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<T, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T, E> {
        self.visit_str(&value.to_string())
    }
}

macro_rules! read_from_scalars {
    ($($kind:ty),*) => {
        $(impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(ScalarVisitor(PhantomData))
            }
        })*
    };
}

read_from_scalars!(
    TimeSpan,
    ByteSize,
    WorkerCount,
    Positive,
    QueueLength,
    Count,
    BindAddress,
    MetricsAddress,
    Switch,
    EnvironmentEntry,
    LogLevel,
    LogFormat,
    FileMode,
    Owner
);

mod access_log;
mod application;
mod http1;
mod unix_socket;
mod websocket;

pub use access_log::AccessLogFormatChoice;
pub use application::{InterfaceChoice, LifespanChoice, WorkerClass};
pub use http1::HalfCloseChoice;
pub use unix_socket::{FileMode, Owner};
pub use websocket::{TimeOrOff, WebSocketChoice};

#[cfg(test)]
mod tests {
    use super::{BindAddress, ByteSize, EnvironmentEntry, MetricsAddress, TimeSpan, WorkerCount};

    #[test]
    fn times_have_units_and_bounds() {
        for (text, ms) in [
            ("30", 30_000),
            ("30s", 30_000),
            ("500ms", 500),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("0.5", 500),
        ] {
            assert_eq!(text.parse(), Ok(TimeSpan { ms }), "{text}");
        }
        for text in ["", "s", "-1", "0", "10d", "1e300", "nan", "inf", "ten"] {
            assert!(text.parse::<TimeSpan>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_have_units_and_bounds() {
        assert_eq!("64KiB".parse(), Ok(ByteSize(65_536)));
        assert_eq!("0".parse(), Ok(ByteSize(0)));
        for text in ["-1", "64KB", "999999999999GiB", ""] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn worker_counts_are_numbers_or_auto() {
        assert_eq!("auto".parse(), Ok(WorkerCount::Auto));
        assert_eq!("4".parse(), Ok(WorkerCount::Number(4)));
        for text in ["0", "513", "-1", "four", "2.0"] {
            assert!(text.parse::<WorkerCount>().is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_are_read_and_written_alike() {
        for text in ["127.0.0.1:8000", "[::1]:0", "localhost:80", "unix:/run/app.sock"] {
            assert_eq!(text.parse::<BindAddress>().expect(text).to_string(), text);
        }
        assert_eq!(":80".parse::<BindAddress>().expect("gunicorn's form").to_string(), "0.0.0.0:80");
        for text in ["8000", "::1:80", "host:99999", "unix:", "host:", "fd://3", "http://x:80"] {
            assert!(text.parse::<BindAddress>().is_err(), "{text}");
        }
        assert_eq!("off".parse(), Ok(MetricsAddress::Off));
        assert!("unix:/x".parse::<MetricsAddress>().is_err());
    }

    #[test]
    fn an_environment_entry_has_a_name() {
        let entry: EnvironmentEntry = "A=b=c".parse().expect("a pair");
        assert_eq!((entry.name.as_str(), entry.value.as_str()), ("A", "b=c"));
        assert!("=x".parse::<EnvironmentEntry>().is_err());
        assert!("x".parse::<EnvironmentEntry>().is_err());
    }
}
