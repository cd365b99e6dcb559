//! Why a Python worker does not start, and how it says so: one message to the supervisor, the whole traceback beside it; alone,
//! both on standard error.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    os::fd::OwnedFd,
};

use protocol::{Phase, evidence::TEXT_OFFSET};
use pyo3::{Bound, PyErr, PyResult, Python, prelude::PyAnyMethods, types::PyTypeMethods};
use worker::{
    error::{StartError, StartErrorKind},
    supervision::Reporter,
};

/// Why a worker does not start.
pub(crate) struct Failure {
    pub(crate) kind: StartErrorKind,
    phase: Phase,
    /// One line: cause, place and what to do.
    pub(crate) message: String,
    /// Python's traceback, when it was Python code that failed.
    pub(crate) traceback: Option<String>,
}

impl Failure {
    /// The application could not be loaded.
    pub(crate) fn load(message: impl Into<String>) -> Self {
        Self::new(StartErrorKind::Load, message.into(), None)
    }

    /// The application's code raised while it was loaded.
    pub(crate) fn load_with_traceback(py: Python<'_>, message: String, error: PyErr) -> Self {
        Self::new(StartErrorKind::Load, message, Some(traceback(py, &error)))
    }

    /// The worker or the application's start-up failed.
    pub(crate) fn boot(message: impl Into<String>) -> Self {
        Self::new(StartErrorKind::Boot, message.into(), None)
    }

    /// Python code raised during start-up.
    pub(crate) fn boot_with_traceback(py: Python<'_>, what: &str, error: PyErr) -> Self {
        let message = format!("{what}: {}", summary(py, &error));
        Self::new(StartErrorKind::Boot, message, Some(traceback(py, &error)))
    }

    /// Python code ended a worker that was serving.
    pub(crate) fn serving(py: Python<'_>, what: &str, error: PyErr) -> Self {
        Self { phase: Phase::Serve, ..Self::boot_with_traceback(py, what, error) }
    }

    fn new(kind: StartErrorKind, message: String, traceback: Option<String>) -> Self {
        Self { kind, phase: kind.phase(), message, traceback }
    }

    /// Tells whoever listens. The traceback first: the message makes the supervisor read it.
    pub(crate) fn report(&self, reporter: &Reporter, evidence: Option<&File>) {
        if let Some(evidence) = evidence {
            if let Some(traceback) = &self.traceback {
                let _full = append(evidence, traceback);
            }
        } else {
            let traceback = self.traceback.as_deref().unwrap_or_default();
            let _unread = writeln!(io::stderr(), "{traceback}error: {}", self.message);
        }
        reporter.failed(self.phase, self.message.lines().next().unwrap_or_default());
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self::new(error.kind, error.message, None)
    }
}

/// "ZeroDivisionError: division by zero (shop/main.py, line 12)"
pub(crate) fn summary(py: Python<'_>, error: &PyErr) -> String {
    let kind = error.get_type(py).name().map(|name| name.to_string()).unwrap_or_default();
    let text = error.value(py).str().map(|text| text.to_string()).unwrap_or_default();
    let text = text.lines().next().unwrap_or_default();
    let place = place(py, error).map(|place| format!(" ({place})")).unwrap_or_default();
    if text.is_empty() { format!("{kind}{place}") } else { format!("{kind}: {text}{place}") }
}

/// File and line of the innermost frame.
fn place(py: Python<'_>, error: &PyErr) -> Option<String> {
    let mut traceback = error.traceback(py)?.into_any();
    loop {
        let next: Bound<'_, pyo3::PyAny> = traceback.getattr("tb_next").ok()?;
        if next.is_none() {
            break;
        }
        traceback = next;
    }
    let line: u32 = traceback.getattr("tb_lineno").ok()?.extract().ok()?;
    let code = traceback.getattr("tb_frame").ok()?.getattr("f_code").ok()?;
    let file: String = code.getattr("co_filename").ok()?.extract().ok()?;
    Some(format!("{file}, line {line}"))
}

fn traceback(py: Python<'_>, error: &PyErr) -> String {
    formatted(py, error).unwrap_or_else(|_error| format!("{error}\n"))
}

fn formatted(py: Python<'_>, error: &PyErr) -> PyResult<String> {
    let arguments = (error.get_type(py), error.value(py), error.traceback(py));
    let lines = py.import("traceback")?.call_method1("format_exception", arguments)?;
    pyo3::types::PyString::new(py, "").call_method1("join", (lines,))?.extract()
}

/// The evidence memfd, as the worker writes text to it: behind the table of requests.
pub(crate) fn open_evidence(descriptor: OwnedFd) -> io::Result<File> {
    let mut file = File::from(descriptor);
    file.seek(SeekFrom::Start(TEXT_OFFSET as u64))?;
    Ok(file)
}

/// Writes what fits; the end of a traceback says most, so a long one loses its beginning.
fn append(mut evidence: &File, text: &str) -> io::Result<()> {
    let room =
        usize::try_from((protocol::evidence::SIZE_BYTES as u64).saturating_sub(evidence.stream_position()?))
            .unwrap_or(0);
    let start = text.ceil_char_boundary(text.len().saturating_sub(room));
    evidence.write_all(&text.as_bytes()[start..])
}
