//! What systemd is told over NOTIFY_SOCKET, as sd_notify(3) describes: ready, reloading, stopping, one line of status, and that the
//! deciding loop turns. Never waits: what the socket does not take at once is sent a little later. Decides nothing.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

use nix::time::{ClockId, clock_gettime};
use supervisor_fleet::Moment;

/// The variables of the protocol: they are meant for this process alone, and no worker gets them.
pub const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];
/// When a message that the socket did not take is tried again.
const RETRY_MS: u64 = 50;
/// Messages that wait; of more the oldest are dropped: systemd wants to know how things are, not how they were.
const MOST_PENDING: usize = 16;
/// What a stop may take beyond the time that workers have: kills, reaping, the end of the program.
const STOP_MARGIN_MS: u64 = 5_000;

/// How the fleet stands, as the line of status tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Workers that are ready.
    pub ready: u32,
    /// Workers that are wanted.
    pub wanted: u32,
    /// The generation that serves.
    pub generation: u32,
}

/// How a reload ended that systemd waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded<'a> {
    /// The new generation serves.
    Done,
    /// Everything is as it was, and why.
    Not(&'a str),
}

/// The line to systemd; silent where there is none.
#[derive(Debug)]
pub struct Notifier {
    line: Option<Line>,
    watchdog: Option<Watchdog>,
    told: Standing,
    /// Stands behind the status until the next reload is tried.
    trouble: Option<String>,
    phase: Phase,
}

/// What systemd was told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Ready,
    Stopping,
}

#[derive(Debug)]
struct Line {
    socket: UnixDatagram,
    to: SocketAddr,
    pending: VecDeque<String>,
    retry_at: Option<Moment>,
}

#[derive(Debug)]
struct Watchdog {
    interval_ms: u64,
    due: Moment,
}

impl Notifier {
    /// Looks whether somebody listens. What is wrong with the variables is a warning: it must not keep the service down.
    #[must_use]
    pub fn new(variables: &BTreeMap<String, String>) -> Self {
        let line = variables.get("NOTIFY_SOCKET").filter(|path| !path.is_empty()).and_then(|path| {
            let refused =
                |error| tracing::warn!(event = "systemd.off", "NOTIFY_SOCKET {path} is not used: {error}");
            Line::open(path).map_err(refused).ok()
        });
        let watchdog = line.as_ref().and_then(|_| Watchdog::wanted(variables));
        Self { line, watchdog, told: Standing::default(), trouble: None, phase: Phase::Starting }
    }

    /// All workers are there for the first time. Our process id, too: a wrapper may be what systemd has started.
    pub fn ready(&mut self, standing: Standing, now: Moment) {
        self.told = standing;
        self.phase = Phase::Ready;
        let pid = std::process::id();
        // In a namespace of its own the number means nothing outside.
        let main = if pid == 1 { String::new() } else { format!("MAINPID={pid}\n") };
        self.tell(format!("READY=1\n{main}STATUS={}", self.status()), now);
    }

    /// A reload was asked for. Who asked waits for [`Self::reloaded`].
    pub fn reloading(&mut self, now: Moment) {
        self.trouble = None;
        // systemd compares it with the time at which it has sent its signal.
        let clock = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
            time.tv_sec().unsigned_abs() * 1_000_000 + time.tv_nsec().unsigned_abs() / 1_000
        });
        self.tell(format!("RELOADING=1\nMONOTONIC_USEC={clock}\nSTATUS=reloading: {}", self.status()), now);
    }

    /// It is over.
    pub fn reloaded(&mut self, how: Reloaded<'_>, standing: Standing, now: Moment) {
        self.told = standing;
        self.trouble = match how {
            Reloaded::Done => None,
            // One line: the next would be a field of its own.
            Reloaded::Not(why) => Some(why.lines().next().unwrap_or_default().to_owned()),
        };
        match self.phase {
            // Nobody is ready yet, or somebody waits for the end.
            Phase::Starting | Phase::Stopping => {}
            Phase::Ready => self.tell(format!("READY=1\nSTATUS={}", self.status()), now),
        }
    }

    /// The end begins, or is near, and may take so long: then systemd does not cut it off, however short its own time-out is.
    pub fn stopping(&mut self, at_most_ms: u64, now: Moment) {
        self.phase = Phase::Stopping;
        let microseconds = (at_most_ms + STOP_MARGIN_MS) * 1_000;
        self.tell(format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={microseconds}\nSTATUS={}", self.status()), now);
    }

    /// A turn of the loop: tells what has changed, and that the loop turns.
    pub fn turn(&mut self, standing: Standing, now: Moment) {
        if self.line.is_none() {
            return;
        }
        if standing != self.told {
            self.told = standing;
            self.tell(format!("STATUS={}", self.status()), now);
        }
        if let Some(watchdog) = &mut self.watchdog
            && watchdog.due <= now
        {
            watchdog.due = Moment(now.0 + watchdog.interval_ms);
            self.tell("WATCHDOG=1".to_owned(), now);
        }
        if let Some(line) = self.line.as_mut().filter(|line| line.retry_at.is_some_and(|at| at <= now)) {
            line.flush(now);
        }
    }

    /// When [`Self::turn`] is due if nothing else happens.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        let watchdog = self.watchdog.as_ref().map(|watchdog| watchdog.due);
        watchdog.into_iter().chain(self.line.as_ref().and_then(|line| line.retry_at)).min()
    }

    fn status(&self) -> String {
        let Standing { ready, wanted, generation } = self.told;
        let s = if wanted == 1 { "" } else { "s" };
        let stops = if self.phase == Phase::Stopping { "stopping: " } else { "" };
        let standing = format!("{stops}{ready} of {wanted} worker{s} ready, generation {generation}");
        match &self.trouble {
            None => standing,
            Some(trouble) => format!("{standing}; {trouble}"),
        }
    }

    fn tell(&mut self, message: String, now: Moment) {
        let Some(line) = &mut self.line else { return };
        // Of these only the newest counts, so they never crowd out what systemd waits for.
        for replaceable in ["STATUS=", "WATCHDOG="] {
            if message.starts_with(replaceable) {
                line.pending.retain(|earlier| !earlier.starts_with(replaceable));
            }
        }
        line.pending.push_back(message);
        if line.pending.len() > MOST_PENDING {
            line.pending.pop_front();
        }
        line.flush(now);
    }
}

impl Line {
    fn open(path: &str) -> io::Result<Self> {
        let to = match path.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None if path.starts_with('/') => SocketAddr::from_pathname(path)?,
            None => {
                let what = "it is neither a path nor an abstract name (`@name`)";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, to, pending: VecDeque::new(), retry_at: None })
    }

    fn flush(&mut self, now: Moment) {
        self.retry_at = None;
        while let Some(message) = self.pending.front() {
            match self.socket.send_to_addr(message.as_bytes(), &self.to) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.retry_at = Some(Moment(now.0 + RETRY_MS));
                    return;
                }
                // Who does not listen any more cannot be told.
                Ok(_) | Err(_) => {
                    self.pending.pop_front();
                }
            }
        }
    }
}

impl Watchdog {
    /// At half of what systemd waits for, as sd_watchdog_enabled(3) recommends.
    fn wanted(variables: &BTreeMap<String, String>) -> Option<Self> {
        let microseconds: u64 = variables.get("WATCHDOG_USEC")?.parse().ok()?;
        let is_ours = variables.get("WATCHDOG_PID").is_none_or(|pid| pid.parse() == Ok(std::process::id()));
        let interval_ms = (microseconds / 2_000).max(1);
        (is_ours && microseconds > 0).then_some(Self { interval_ms, due: Moment(0) })
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, os::unix::net::UnixDatagram};

    use supervisor_fleet::Moment;

    use super::{Notifier, Reloaded, Standing};

    fn variables(socket: &str, watchdog: &[(&str, &str)]) -> BTreeMap<String, String> {
        let socket = [("NOTIFY_SOCKET", socket)];
        socket.iter().chain(watchdog).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_socket_that_takes_nothing_is_never_waited_for_and_hears_the_rest_later() {
        let path = std::env::temp_dir().join(format!("supervise-{}-notify", std::process::id()));
        let systemd = UnixDatagram::bind(&path).expect("bound");
        systemd.set_nonblocking(true).expect("set");
        let mut notifier = Notifier::new(&variables(path.to_str().expect("text"), &[]));
        notifier.ready(Standing::default(), Moment(0));
        for ready in 0..2_000 {
            notifier.turn(Standing { ready, wanted: 1, generation: 1 }, Moment(0));
        }
        assert_eq!(notifier.next_deadline(), Some(Moment(super::RETRY_MS)), "it tries again");
        let mut buffer = [0; 256];
        while systemd.recv(&mut buffer).is_ok() {}
        notifier.turn(Standing { ready: 1_999, wanted: 1, generation: 1 }, Moment(super::RETRY_MS));
        let mut last = String::new();
        while let Ok(length) = systemd.recv(&mut buffer) {
            last = String::from_utf8_lossy(&buffer[..length]).into_owned();
        }
        assert_eq!(last, "STATUS=1999 of 1 worker ready, generation 1");
        std::fs::remove_file(&path).expect("there");
    }

    #[test]
    fn only_our_own_watchdog_is_fed() {
        let with =
            |watchdog: &[(&str, &str)]| Notifier::new(&variables("/nowhere", watchdog)).next_deadline();
        let ours = std::process::id().to_string();
        assert_eq!(with(&[]), None);
        assert!(with(&[("WATCHDOG_USEC", "1000000")]).is_some());
        assert!(with(&[("WATCHDOG_USEC", "1000000"), ("WATCHDOG_PID", &ours)]).is_some());
        assert_eq!(with(&[("WATCHDOG_USEC", "1000000"), ("WATCHDOG_PID", "1")]), None);
        assert_eq!(with(&[("WATCHDOG_USEC", "0")]), None);
    }

    #[test]
    fn without_a_socket_nothing_happens() {
        let mut notifier = Notifier::new(&BTreeMap::new());
        notifier.ready(Standing::default(), Moment(0));
        notifier.reloaded(Reloaded::Done, Standing::default(), Moment(0));
        assert_eq!(notifier.next_deadline(), None);
    }
}
