//! The plain guest application under supervision, as most tests start it, and its versions.

use harness::{Guest, Machine, Python, Server, ServerBuilder};

/// The text of `version.py`: version `number` of the code, whose import takes a while.
pub(crate) fn version(number: u32, import_seconds: f32) -> String {
    format!("VERSION = \"v{number}\"\nIMPORT_SECONDS = {import_seconds:.1}\n")
}

/// A server of the plain guest application that is not started yet.
pub(crate) fn plain<'m>(machine: &'m Machine, python: &Python, workers: u32) -> ServerBuilder<'m> {
    machine.server().guest(Guest::PLAIN, python).file("version.py", &version(0, 0.0)).arguments([
        "--worker-class",
        "async",
        "--workers",
        &workers.to_string(),
        "app:app",
    ])
}

/// The process ids of a server's workers.
pub(crate) fn pids(server: &Server) -> Vec<u32> {
    server.workers().iter().map(|worker| worker.pid).collect()
}
