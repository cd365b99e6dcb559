//! Gives this process to a native application: a program that links the worker library and adopts what this process inherited.

use std::{io, os::unix::process::CommandExt as _, path::Path, process::Command};

use crate::error::{StartError, StartErrorKind};

/// Replaces this process by `program`, with `environment` added. Returns only when that failed.
#[must_use]
pub fn exec(program: &Path, environment: &[(String, String)]) -> StartError {
    let error = Command::new(program).envs(environment.iter().cloned()).exec();
    let cause = match error.kind() {
        io::ErrorKind::NotFound => "there is no such program",
        io::ErrorKind::PermissionDenied if program.is_dir() => {
            "it is a directory; serving static files is not there yet"
        }
        io::ErrorKind::PermissionDenied => "it is not executable (`chmod +x` it)",
        _ => return cannot_run(program, &error.to_string()),
    };
    cannot_run(program, cause)
}

fn cannot_run(program: &Path, cause: &str) -> StartError {
    StartError::new(StartErrorKind::Load, format!("cannot run {}: {cause}", program.display()))
}
