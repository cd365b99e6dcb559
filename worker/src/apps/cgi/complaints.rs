//! What a program writes on standard error: into the log, line by line, with the program's name, and bounded. What is beyond the
//! bound is read and dropped, so that a program that floods is not stopped in the middle of its work.

use std::io;

use tokio::net::unix::pipe;

/// Longest line; what is longer is cut.
const MAX_LINE_BYTES: usize = 1024;
/// Most that one request may write into the log: a long traceback fits many times.
const MAX_LOGGED_BYTES: usize = 32 * 1024;

/// The standard error of one run.
#[derive(Debug)]
pub(super) struct Complaints {
    pipe: pipe::Receiver,
    program: String,
    line: Vec<u8>,
    logged_bytes: usize,
    dropped_bytes: u64,
}

impl Complaints {
    /// Those of `program`.
    pub(super) fn of(program: String, pipe: pipe::Receiver) -> Self {
        Self { pipe, program, line: Vec::new(), logged_bytes: 0, dropped_bytes: 0 }
    }

    /// Logs until the pipe ends.
    pub(super) async fn relay(&mut self) {
        while self.pipe.readable().await.is_ok() {
            match self.read_once() {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_unreadable) => return,
            }
        }
    }

    /// Logs what is there after the program's end, without waiting for more.
    pub(super) fn finish(mut self) {
        // A pipe holds 64 KiB; whoever fills it again all the time is not waited for.
        const MOST_READS: u32 = 64;
        for _ in 0..MOST_READS {
            if !matches!(self.read_once(), Ok(1..)) {
                break;
            }
        }
        self.end_line();
        if self.dropped_bytes > 0 {
            tracing::warn!(
                "{}: {} more bytes on standard error were dropped",
                self.program,
                self.dropped_bytes
            );
        }
    }

    fn read_once(&mut self) -> io::Result<usize> {
        let mut piece = [0; 4096];
        let count = self.pipe.try_read(&mut piece)?;
        for &byte in &piece[..count] {
            if byte == b'\n' {
                self.end_line();
            } else if self.logged_bytes + self.line.len() >= MAX_LOGGED_BYTES
                || self.line.len() >= MAX_LINE_BYTES
            {
                self.dropped_bytes += 1;
            } else {
                self.line.push(byte);
            }
        }
        Ok(count)
    }

    fn end_line(&mut self) {
        if !self.line.is_empty() {
            let text = String::from_utf8_lossy(&self.line);
            // Whatever it wrote, it is one line of ours.
            let text: String = text
                .trim_end()
                .chars()
                .map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c })
                .collect();
            tracing::warn!("{}: {text}", self.program);
            self.logged_bytes += self.line.len();
            self.line.clear();
        }
    }
}
