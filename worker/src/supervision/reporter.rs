//! The outgoing half of the control channel. Any thread may report; no report ever blocks.

use std::{
    collections::VecDeque,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
};

use nix::{errno::Errno, unistd::write};
use protocol::{FromWorker, Phase, VERSION, frame};

/// Sends reports to the supervisor. Clones share the pipe. A worker that runs alone has one that reports to nobody.
#[derive(Debug, Clone)]
pub struct Reporter {
    pipe: Option<Arc<Pipe>>,
}

#[derive(Debug)]
struct Pipe {
    descriptor: OwnedFd,
    /// Reports that met a full pipe, in order; heartbeats are never kept, since only the newest is true.
    pending: Mutex<VecDeque<Vec<u8>>>,
}

/// Reports kept for a supervisor that does not read. A worker has fewer to say in its whole life, replace-me aside.
const MAX_PENDING: usize = 16;

impl Reporter {
    /// A reporter on the worker's end of the outgoing pipe, which must be non-blocking.
    #[must_use]
    pub fn new(to_supervisor: OwnedFd) -> Self {
        Self { pipe: Some(Arc::new(Pipe { descriptor: to_supervisor, pending: Mutex::default() })) }
    }

    /// A reporter to nobody.
    #[must_use]
    pub fn alone() -> Self {
        Self { pipe: None }
    }

    /// Whether nobody listens.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.pipe.is_none()
    }

    /// The first report: who runs the application, and the signal that makes it append its stacks to the evidence memfd.
    pub fn hello(&self, runtime: &str, stack_signal: Option<i32>) {
        let runtime = frame::cut_to_fit(runtime).to_owned();
        self.send(&FromWorker::Hello { version: VERSION, pid: std::process::id(), runtime, stack_signal });
    }

    /// The application is imported; its start-up begins.
    pub fn loaded(&self, application: &str) {
        self.send(&FromWorker::Loaded { application: frame::cut_to_fit(application).to_owned() });
    }

    /// The worker accepts connections from now on.
    pub fn ready(&self) {
        self.send(&FromWorker::Ready);
    }

    /// The worker stopped accepting.
    pub fn draining(&self) {
        self.send(&FromWorker::Draining);
    }

    /// The worker cannot go on. Write the whole traceback to the evidence memfd first.
    pub fn failed(&self, phase: Phase, message: &str) {
        self.send(&FromWorker::Failed { phase, message: frame::cut_to_fit(message).to_owned() });
    }

    /// The worker asks to be replaced while it goes on serving.
    pub fn replace_me(&self, reason: &str) {
        self.send(&FromWorker::ReplaceMe { reason: frame::cut_to_fit(reason).to_owned() });
    }

    /// Sends one heartbeat, or drops it when the pipe is full.
    pub(super) fn heartbeat(&self, heartbeat: FromWorker) {
        let Some(pipe) = &self.pipe else { return };
        let pending = pipe.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.is_empty() {
            let line = frame::encode(&heartbeat).expect("a heartbeat is three numbers");
            let _full_or_gone = write(&pipe.descriptor, &line);
        }
    }

    /// Tries again to send what met a full pipe.
    pub(super) fn retry_pending(&self) {
        let Some(pipe) = &self.pipe else { return };
        pipe.flush(&mut pipe.pending.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn send(&self, report: &FromWorker) {
        let Some(pipe) = &self.pipe else { return };
        let line = frame::encode(report).expect("every text of a report is cut to fit");
        let mut pending = pipe.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.len() == MAX_PENDING {
            pending.pop_front();
        }
        pending.push_back(line);
        pipe.flush(&mut pending);
    }
}

impl Pipe {
    /// Writes as many pending lines as the pipe takes. Each is at most PIPE_BUF bytes, so it goes whole or not at all (pipe(7)).
    fn flush(&self, pending: &mut VecDeque<Vec<u8>>) {
        while let Some(line) = pending.front() {
            match write(&self.descriptor, line) {
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => {}
                // Any other error: nobody reads any more, and the incoming pipe says so too.
                Ok(_) | Err(_) => drop(pending.pop_front()),
            }
        }
    }
}
