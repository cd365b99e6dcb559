//! h2load as the load client, for what the bench's own client does not speak: HTTP/2 and TLS. Runs it on the load's processor and
//! reads the number of right answers from what it prints; any failure is an error.

use std::{
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    contenders::{Contender, Transport},
    rows::Protocol,
};

/// What h2load speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoadKind {
    Http1,
    Http1OverTls,
    Http2,
}

/// One load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct H2load<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) path: &'a str,
    pub(crate) kind: LoadKind,
    pub(crate) connections: u32,
    /// Requests at a time on each connection.
    pub(crate) streams: u32,
}

impl LoadKind {
    /// For `contender` in a row of this protocol.
    pub(crate) fn of(contender: Contender, protocol: Protocol) -> Self {
        match (protocol, contender.transport(protocol)) {
            (Protocol::Http2, _) => Self::Http2,
            (_, Transport::Tls) => Self::Http1OverTls,
            (Protocol::Http1 | Protocol::Http1OverTls | Protocol::WebSocket, Transport::Plain) => Self::Http1,
        }
    }
}

/// What one load brought.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Right answers of the main duration.
    pub(crate) completed: u64,
    /// What the server used meanwhile.
    pub(crate) cpu: Duration,
}

impl H2load<'_> {
    /// Loads the server for so long after a warm-up, in which the connections are made. `cpu` tells what the server has used so
    /// far; it is asked when h2load says that the main duration begins, and when it says that it is over.
    ///
    /// # Errors
    /// When h2load is not there, or any request failed.
    pub(crate) fn run(
        &self,
        warm_up: Duration,
        duration: Duration,
        cpu: impl Fn() -> io::Result<Duration>,
    ) -> io::Result<Loaded> {
        let mut command = self.command(warm_up, duration);
        let mut h2load =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(
                |error| {
                    io::Error::other(format!("cannot run {command:?} (Debian's nghttp2-client): {error}"))
                },
            )?;
        let stdout = h2load.stdout.take().ok_or_else(|| io::Error::other("h2load has no output"))?;
        let read = read_with_marks(BufReader::new(stdout), cpu);
        let status = h2load.wait()?;
        let (printed, before, after) = read?;
        let wrong = |reason: &str| io::Error::other(format!("{command:?}: {status}, {reason}:\n{printed}"));
        let (Some(before), Some(after)) = (before, after) else { return Err(wrong("it did not measure")) };
        let completed = right_answers(&printed).map_err(wrong)?;
        Ok(Loaded { completed, cpu: after.saturating_sub(before) })
    }

    fn command(&self, warm_up: Duration, duration: Duration) -> Command {
        let scheme = match self.kind {
            LoadKind::Http1 | LoadKind::Http2 => "http",
            LoadKind::Http1OverTls => "https",
        };
        let mut command = Command::new("h2load");
        if self.kind != LoadKind::Http2 {
            command.arg("--h1");
        }
        command.args(["-t", "1", "-c", &self.connections.to_string(), "-m", &self.streams.to_string()]);
        command.arg(format!("--warm-up-time={}ms", warm_up.as_millis()));
        command.arg(format!("--duration={}ms", duration.as_millis()));
        command.arg(format!("{scheme}://{}{}", self.address, self.path));
        command
    }
}

/// All that h2load prints, and the moments between which it measures.
fn read_with_marks(
    output: impl BufRead,
    cpu: impl Fn() -> io::Result<Duration>,
) -> io::Result<(String, Option<Duration>, Option<Duration>)> {
    let (mut printed, mut before, mut after) = (String::new(), None, None);
    for line in output.lines() {
        let line = line?;
        if line.starts_with("Main benchmark duration is started") {
            before = Some(cpu()?);
        } else if line.starts_with("Main benchmark duration is over") {
            after = Some(cpu()?);
        }
        printed.push_str(&line);
        printed.push('\n');
    }
    Ok((printed, before, after))
}

/// Reads `requests: N total, N started, N done, N succeeded, N failed, N errored, N timeout` and `status codes: N 2xx, …`.
fn right_answers(printed: &str) -> Result<u64, &'static str> {
    let line =
        |name: &str| printed.lines().find_map(|line| line.strip_prefix(name)).ok_or("it printed no summary");
    let number = |line: &str, unit: &str| {
        let parts = line.split(',').map(str::trim);
        let words = parts.filter_map(|part| part.split_once(' '));
        words
            .filter(|(_, word)| *word == unit)
            .find_map(|(count, _)| count.parse::<u64>().ok())
            .ok_or("a number is missing")
    };
    let (requests, codes) = (line("requests: ")?, line("status codes: ")?);
    if number(requests, "failed")? + number(requests, "errored")? + number(requests, "timeout")? > 0 {
        return Err("requests failed");
    }
    let right = number(codes, "2xx")?;
    if right == 0 || number(codes, "3xx")? + number(codes, "4xx")? + number(codes, "5xx")? > 0 {
        return Err("not every answer was a 2xx");
    }
    Ok(right)
}

#[cfg(test)]
mod tests {
    use super::right_answers;

    const GOOD: &str = "finished in 1.00s\n\
        requests: 100 total, 101 started, 100 done, 100 succeeded, 0 failed, 0 errored, 0 timeout\n\
        status codes: 100 2xx, 0 3xx, 0 4xx, 0 5xx\n";

    #[test]
    fn only_a_run_without_failures_counts() {
        assert_eq!(right_answers(GOOD), Ok(100));
        for (good, bad) in
            [("0 failed", "1 failed"), ("0 5xx", "1 5xx"), ("100 2xx", "0 2xx"), ("requests:", "r:")]
        {
            assert!(right_answers(&GOOD.replacen(good, bad, 1)).is_err(), "{bad}");
        }
    }
}
