//! How a worker that cannot start says so: to its supervisor if it has one, else on standard error. Either way once.

use std::{
    io::{self, Write as _},
    os::fd::OwnedFd,
    process::ExitCode,
};

use crate::{
    error::StartError,
    inherited_sockets::{self, ControlPipes},
    supervision::Reporter,
};

/// Reports `error` to the supervisor, or on standard error when there is none. What does not fit in a line goes to the evidence
/// memfd. Gives the exit code.
pub fn report(error: &StartError, reporter: &Reporter, evidence: Option<OwnedFd>) -> ExitCode {
    if reporter.is_alone() {
        complain(error);
    } else {
        let headline = error.message.lines().next().unwrap_or_default();
        if headline.len() < error.message.len() {
            write_evidence(evidence, &error.message);
        }
        reporter.failed(error.kind.phase(), headline);
    }
    error.exit_code()
}

/// Reports `error` for a process that has adopted nothing: a launcher, or a worker whose inheritance is broken.
#[must_use]
pub fn report_unadopted(error: &StartError) -> ExitCode {
    match inherited_sockets::adopt_for_farewell() {
        Ok((Some(ControlPipes { to_supervisor, .. }), evidence)) => {
            let reporter = Reporter::new(to_supervisor);
            reporter.hello("worker launcher", None);
            report(error, &reporter, evidence)
        }
        // Without a usable pipe standard error is the only one who listens.
        Ok((None, _)) | Err(_) => report(error, &Reporter::alone(), None),
    }
}

/// Writes a message for people. Standard error may be gone; then nobody reads it.
pub(crate) fn complain(error: &StartError) {
    let _unread = writeln!(io::stderr(), "error: {}", error.message);
}

fn write_evidence(evidence: Option<OwnedFd>, message: &str) {
    let Some(evidence) = evidence else { return };
    let mut file = std::fs::File::from(evidence);
    let offset = io::Seek::seek(&mut file, io::SeekFrom::Start(protocol::evidence::TEXT_OFFSET as u64));
    let _unread = offset.and_then(|_offset| writeln!(file, "{message}"));
}
