//! Hands the lines of the access log to a logger of Python's `logging`, on the log's own thread: what its handlers do holds up
//! no request.

use std::io;

use pyo3::{
    Py, PyAny, PyErr, PyResult, Python,
    prelude::PyAnyMethods,
    types::{PyBytes, PyModule},
};
use worker::access_log_writer::{LineSink, LostLines};

/// What a logger is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// The line as text.
    Line,
    /// uvicorn's arguments, parted by tabs.
    Record,
}

/// A logger.
pub(crate) struct LoggerSink {
    name: String,
    content: Content,
    /// Made for the first line: then the application has configured its logging.
    write: Option<Py<PyAny>>,
}

impl LoggerSink {
    /// The logger of this name.
    pub(crate) fn new(name: &str, content: Content) -> Self {
        Self { name: name.to_owned(), content, write: None }
    }

    fn hand_over(&mut self, py: Python<'_>, lines: &[u8]) -> PyResult<()> {
        let write = match &self.write {
            Some(write) => write.bind(py).clone(),
            None => {
                let source = crate::python_source!("access_logger.py");
                let (file, name) = (c"<supervise>/access_logger.py", c"worker_python_access_logger");
                let module = PyModule::from_code(py, source, file, name)?;
                let is_record = self.content == Content::Record;
                let write = module.getattr("writer")?.call1((self.name.as_str(), is_record))?;
                self.write = Some(write.clone().unbind());
                write
            }
        };
        write.call1((PyBytes::new(py, lines),))?;
        Ok(())
    }
}

impl LineSink for LoggerSink {
    fn write(&mut self, lines: &[u8]) -> Result<(), LostLines> {
        Python::attach(|py| self.hand_over(py, lines).map_err(|error| lost(py, lines, &error)))
    }

    fn reopen(&mut self) -> io::Result<()> {
        // The handlers' own business: `logging.handlers.WatchedFileHandler` reopens by itself.
        Ok(())
    }
}

fn lost(py: Python<'_>, lines: &[u8], error: &PyErr) -> LostLines {
    let count = lines.iter().filter(|&&byte| byte == b'\n').count();
    LostLines { lines: count as u64, error: io::Error::other(error.value(py).to_string()) }
}
