//! The worker's own log lines: few, on standard error, and never at the price of a request: a line that standard error would not
//! take at once is dropped.

use std::{
    io::{self, Write},
    os::fd::AsFd as _,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use protocol::settings::WorkerSettings;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// Longest line that is written in one piece: a pipe that is ready takes as much without blocking (PIPE_BUF, pipe(7)).
const MAX_LINE_BYTES: usize = 4096;

/// Starts logging. An application that set up its own `tracing` subscriber before keeps it.
pub fn start(settings: &WorkerSettings) {
    let level: LevelFilter = settings.log_level.parse().unwrap_or(LevelFilter::INFO);
    // What h2 warns of is what clients do: one that sends it again and again would fill the log.
    let of_h2 = if level >= LevelFilter::DEBUG { level } else { level.min(LevelFilter::ERROR) };
    let targets = Targets::new().with_default(level).with_target("h2", of_h2);
    let lines = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false)
        .with_writer(|| ReadyStderr);
    let _has_its_own = if settings.log_format == "json" {
        lines.json().finish().with(targets).try_init()
    } else {
        lines.finish().with(targets).try_init()
    };
}

/// Standard error, as far as it takes bytes without blocking.
struct ReadyStderr;

impl Write for ReadyStderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let stderr = io::stderr();
        let mut interest = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
        let is_ready = poll(&mut interest, PollTimeout::ZERO).is_ok_and(|ready| ready > 0);
        if is_ready {
            let _reader_left = stderr.lock().write_all(&line[..line.len().min(MAX_LINE_BYTES)]);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
