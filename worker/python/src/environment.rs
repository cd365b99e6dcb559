//! What is put in place before the application is imported: variables of the `--env-file`, and Python's logging.

use std::path::Path;

use protocol::{inherited, settings::WorkerSettings};
use pyo3::{
    PyResult, Python,
    prelude::PyAnyMethods,
    types::{PyDict, PyDictMethods},
};

use crate::failure::Failure;

/// Removes what only this worker should see, so that programs that the application starts do not take it for theirs.
pub(crate) fn hide_inherited(py: Python<'_>) -> PyResult<()> {
    let environ = py.import("os")?.getattr("environ")?;
    for name in inherited::ALL {
        environ.call_method1("pop", (name, py.None()))?;
    }
    Ok(())
}

/// Puts the lines of an env file into the environment. What is set already stays: the file holds defaults.
pub(crate) fn load_env_file(py: Python<'_>, path: &Path) -> Result<(), Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::boot(format!("cannot read the env file {}: {error}", path.display())))?;
    let entries = parse(&text)
        .map_err(|line| Failure::boot(format!("{}, line {line}: no NAME=VALUE", path.display())))?;
    let put = || -> PyResult<()> {
        let environ = py.import("os")?.getattr("environ")?;
        for (name, value) in &entries {
            environ.call_method1("setdefault", (name, value))?;
        }
        Ok(())
    };
    put().map_err(|error| Failure::boot_with_traceback(py, "cannot set the environment", error))
}

/// Reads NAME=VALUE lines: comments, `export`, single and double quotes. The error is the number of a line that is none.
fn parse(text: &str) -> Result<Vec<(String, String)>, usize> {
    let mut entries = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=').ok_or(index + 1)?;
        let name = name.trim();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(index + 1);
        }
        entries.push((name.to_owned(), unquoted(value.trim())));
    }
    Ok(entries)
}

fn unquoted(value: &str) -> String {
    let inside = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.split_once(quote));
    if let Some((quoted, _comment)) = inside('\'') {
        return quoted.to_owned();
    }
    if let Some((quoted, _comment)) = inside('"') {
        return quoted.replace("\\n", "\n");
    }
    value.split(" #").next().unwrap_or_default().trim_end().to_owned()
}

/// Python's logging as `--log-config` says, or lines on standard error for what the worker itself has to say.
pub(crate) fn configure_logging(
    py: Python<'_>,
    log_config: Option<&Path>,
    settings: &WorkerSettings,
) -> Result<(), Failure> {
    let configured = match log_config {
        Some(path) => configure_from_file(py, path),
        None => configure_by_default(py, settings),
    };
    configured.map_err(|error| match log_config {
        Some(path) => {
            let what = format!("the log config {} is wrong", path.display());
            Failure::boot_with_traceback(py, &what, error)
        }
        None => Failure::boot_with_traceback(py, "cannot set up logging", error),
    })
}

fn configure_from_file(py: Python<'_>, path: &Path) -> PyResult<()> {
    let config = py.import("logging.config")?;
    let open = || py.import("io")?.call_method1("open", (path.as_os_str(),));
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => {
            let content = py.import("json")?.call_method1("load", (open()?,))?;
            config.call_method1("dictConfig", (content,))?;
        }
        Some("yaml" | "yml") => {
            let content = py.import("yaml")?.call_method1("safe_load", (open()?,))?;
            config.call_method1("dictConfig", (content,))?;
        }
        Some(_) | None => {
            // fileConfig() of a file that is not there complains about its sections.
            drop(open()?);
            let keywords = PyDict::new(py);
            keywords.set_item("disable_existing_loggers", false)?;
            config.call_method("fileConfig", (path.as_os_str(),), Some(&keywords))?;
        }
    }
    Ok(())
}

fn configure_by_default(py: Python<'_>, settings: &WorkerSettings) -> PyResult<()> {
    let source = crate::python_source!("environment.py");
    let module = pyo3::types::PyModule::from_code(
        py,
        source,
        c"<supervise>/environment.py",
        c"worker_python_environment",
    )?;
    module
        .getattr("configure_logging")?
        .call1((settings.log_level.as_str(), settings.log_format.as_str()))?;
    Ok(())
}
