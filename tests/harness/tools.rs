//! Programs of the system that some tests need. One that is missing is never a silent pass: it is named at the end of the run
//! with the command that mends it, and with REQUIRE_ALL=1 the test that needs it fails.

use std::{io::Write, path::PathBuf};

/// A program that comes with the system, not with this repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// The Prometheus server.
    Prometheus,
    /// Checker of metrics and rules.
    Promtool,
    /// The reverse proxy of deploy/.
    Nginx,
    /// Checker of the systemd unit.
    SystemdAnalyze,
    /// Starts a program with its sockets, at the first connection.
    SystemdSocketActivate,
    /// Makes the process namespace in which the supervisor is process 1.
    Unshare,
    /// Its smart HTTP server is a CGI program.
    Git,
    /// A client of HTTP/2 that everybody knows.
    Curl,
    /// Any Perl 5.
    Perl,
    /// Any Python from 3.9 up with the venv module.
    Python,
}

impl Tool {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Prometheus,
        Self::Promtool,
        Self::Nginx,
        Self::SystemdAnalyze,
        Self::SystemdSocketActivate,
        Self::Unshare,
        Self::Git,
        Self::Curl,
        Self::Perl,
        Self::Python,
    ];

    /// The program's file name.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::Promtool => "promtool",
            Self::Nginx => "nginx",
            Self::SystemdAnalyze => "systemd-analyze",
            Self::SystemdSocketActivate => "systemd-socket-activate",
            Self::Unshare => "unshare",
            Self::Git => "git",
            Self::Curl => "curl",
            Self::Perl => "perl",
            Self::Python => "python3",
        }
    }

    /// The command that mends its absence.
    #[must_use]
    pub fn mend(self) -> &'static str {
        match self {
            Self::Prometheus | Self::Promtool => "apt-get install prometheus",
            Self::Nginx => "apt-get install nginx-light",
            Self::SystemdAnalyze | Self::SystemdSocketActivate => "apt-get install systemd",
            Self::Unshare => "apt-get install util-linux",
            Self::Git => "apt-get install git",
            Self::Curl => "apt-get install curl",
            Self::Perl => "apt-get install perl",
            Self::Python => "apt-get install python3 python3-venv python3-dev",
        }
    }

    /// Where it is, if it is there.
    #[must_use]
    pub fn find(self) -> Option<PathBuf> {
        find_program(self.program())
    }
}

/// Looks a program up on PATH, and where daemons live that only root has on PATH.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let daemons = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(daemons)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// Whether a missing tool fails the test that needs it.
#[must_use]
pub(crate) fn all_are_required() -> bool {
    std::env::var_os("REQUIRE_ALL").is_some_and(|value| value == "1")
}

/// Where `tool` is; nothing when it is missing, after saying so past the capture of test output.
///
/// # Panics
/// When it is missing and REQUIRE_ALL=1.
#[must_use]
pub fn require(tool: Tool) -> Option<PathBuf> {
    let found = tool.find();
    if found.is_none() {
        report_missing(tool.program(), tool.mend());
    }
    found
}

/// Says that something is missing.
///
/// # Panics
/// When REQUIRE_ALL=1.
pub(crate) fn report_missing(what: &str, mend: &str) {
    let line = format!("NOT TESTED: {what} is missing on this machine; to mend: {mend}");
    assert!(!all_are_required(), "{line}");
    // Not `eprintln!`, which the test runner captures and then drops for a test that passes.
    let _ = writeln!(std::io::stderr(), "{line}");
}
