//! Gives this process to the user's Python: finds the interpreter by looking at files only (asking one would cost its whole start),
//! and execs it with a bootstrap that loads the extension. Same process id, same pipes, same group.

mod interpreter;

use std::{env, ffi::OsString, os::unix::process::CommandExt as _, path::PathBuf, process::Command};

use protocol::settings::PythonSettings;

use crate::error::{StartError, StartErrorKind};

/// What the interpreter runs first. In a file of its own, because it is Python.
const BOOTSTRAP: &str = include_str!("python_launch/bootstrap.py");

/// Replaces this process by the interpreter, with `environment` added. Returns only when that failed.
#[must_use]
pub fn exec(python: &PythonSettings, environment: &[(String, String)]) -> StartError {
    match prepare(python) {
        Ok(mut command) => {
            let program = command.get_program().to_string_lossy().into_owned();
            let error = command.envs(environment.iter().cloned()).exec();
            unusable(format!("cannot run the Python interpreter {program}: {error}"))
        }
        Err(error) => error,
    }
}

fn prepare(python: &PythonSettings) -> Result<Command, StartError> {
    let interpreter = interpreter::find(python.python.as_deref(), &Surroundings::here())?;
    let own_directory = env::current_exe()
        .ok()
        .and_then(|program| program.parent().map(PathBuf::from))
        .ok_or_else(|| unusable("the path of this program is unknown; is /proc mounted?".to_owned()))?;
    let mut command = Command::new(&interpreter);
    // argv[0] stays the interpreter's own path: Python finds its virtual environment by it.
    command.arg("-c").arg(BOOTSTRAP).arg(own_directory).arg(&python.app_dir).arg(&python.target);
    Ok(command)
}

/// What the search for an interpreter looks at.
#[derive(Debug, Clone, Default)]
struct Surroundings {
    virtual_env: Option<OsString>,
    conda_prefix: Option<OsString>,
    path: Option<OsString>,
    directory: Option<PathBuf>,
}

impl Surroundings {
    fn here() -> Self {
        let variable = |name| env::var_os(name).filter(|value: &OsString| !value.is_empty());
        Self {
            virtual_env: variable("VIRTUAL_ENV"),
            conda_prefix: variable("CONDA_PREFIX"),
            path: variable("PATH"),
            directory: env::current_dir().ok(),
        }
    }
}

/// No interpreter that can run: a failed boot, met while loading the application.
fn unusable(message: String) -> StartError {
    StartError::new(StartErrorKind::Interpreter, message)
}
