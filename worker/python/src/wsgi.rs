//! WSGI (PEP 3333) over the engine: each request becomes an environ and a call of the application that may block.
//!
//! The network side (`desk`) runs in the reactor and never touches Python; the application's side (`run` and what it uses) runs
//! where blocking harms nobody: between two turns of the reactor (`inline`) or on threads of its own (`pool`). They exchange
//! plain messages. A thread only runs the application: a request waits at the desk until its body is there, as long as it is
//! not too large to keep, and a reply waits there for a slow client.

mod caller;
mod chunk;
mod desk;
mod environ;
mod file_wrapper;
mod ground;
mod inline;
mod input;
mod known;
mod pool;
mod port;
mod relay;
mod reply_head;
mod request;
mod responder;
mod run;
mod threads;

use std::time::Instant;

use protocol::settings::{PythonSettings, wsgi::Concurrency};
use pyo3::{Bound, PyAny};

use self::caller::Caller;
pub(crate) use self::ground::Ground;
use crate::failure::Failure;

/// Serves until the drain is over. Gives the moment by which the rest must be over too.
pub(crate) fn serve(
    application: &Bound<'_, PyAny>,
    ground: Ground,
    python: &PythonSettings,
) -> Result<Instant, Failure> {
    let py = application.py();
    let concurrency = python.wsgi.concurrency();
    let caller = Caller::new(application, &python.wsgi)
        .map_err(|error| Failure::boot_with_traceback(py, "cannot prepare for requests", error))?;
    match concurrency {
        Concurrency::Inline => inline::serve(py, ground, &caller),
        Concurrency::Threads(threads) => threads::serve(py, ground, caller, threads as usize),
    }
}
