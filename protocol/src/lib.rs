//! All that supervisor and worker share: the two message catalogues, the line framing, the names of what a
//! worker inherits, its settings, and the layout of the shared memory. No I/O, no clock, no system call.
//!
//! Any program in any language can be a full worker: it reads one JSON object a line from one inherited pipe
//! and writes one JSON object a line to the other ([`frame`], [`inherited`]).

pub mod credentials;
pub mod defaults;
pub mod evidence;
pub mod frame;
pub mod inherited;
pub mod scoreboard;
pub mod settings;

use serde::{Deserialize, Serialize};

/// Version of the control channel. A worker says the version that it speaks in its [`FromWorker::Hello`]; the
/// supervisor refuses any other by name.
pub const VERSION: u32 = 2;

/// What the supervisor says to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ToWorker {
    /// Stop accepting, finish what is in flight, run the application's shutdown, exit 0.
    Drain {
        /// Time for all of it, in milliseconds from the receipt; what is unfinished then is cut off.
        grace_ms: u64,
    },
    /// The [`credentials`] have changed: read them anew and use them for connections that come from now on. A worker without
    /// TLS may ignore it.
    ReloadCertificates,
    /// Open log files anew, by their names: somebody moved them away. Whoever writes no log file has nothing to do.
    ReopenLogs,
}

/// What a worker says to the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum FromWorker {
    /// The first message of every worker.
    Hello {
        /// [`VERSION`] as the worker knows it.
        version: u32,
        /// The worker's process id, as the worker itself sees it.
        pid: u32,
        /// What runs the application, in plain words: "native", "CPython 3.11.7 (/srv/.venv/bin/python)".
        runtime: String,
        /// The signal that makes this worker append its stacks to the evidence memfd; none where it cannot.
        stack_signal: Option<i32>,
    },
    /// The application is imported; its start-up (lifespan) begins.
    Loaded {
        /// What was found, in plain words: "ASGI 3 application", "welcome app".
        application: String,
    },
    /// The worker accepts connections from now on.
    Ready,
    /// The worker's event loop answered. Sent every `heartbeat_interval_ms` of the settings; never while the loop is stuck.
    Heartbeat {
        /// How long the loop took to answer the last poke, in milliseconds.
        loop_lag_ms: u64,
        /// Requests begun and not yet answered in full.
        in_flight: u32,
        /// Age of the oldest of them in milliseconds; 0 when there is none.
        oldest_request_ms: u64,
    },
    /// The worker stopped accepting, asked to or by its own decision.
    Draining,
    /// The worker cannot go on and will exit. The whole traceback is in the evidence memfd.
    Failed {
        /// How far it came.
        phase: Phase,
        /// One line for people, cut to fit a frame.
        message: String,
    },
    /// The worker asks to be replaced (it is still serving).
    ReplaceMe {
        /// Why, in plain words.
        reason: String,
    },
}

/// How far a worker came before it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The application could not be found or imported (exit code 4).
    Load,
    /// The worker or the application's start-up failed (exit code 3).
    Startup,
    /// It was serving.
    Serve,
}
