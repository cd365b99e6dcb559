//! The peers: a virtual environment for each interpreter, with what `requirements.txt` pins.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Serialize;

use crate::contenders;

const REQUIREMENTS: &str = include_str!("requirements.txt");

/// Asks an interpreter who it is, one fact a line.
const WHO_ARE_YOU: &str = "import platform, sys
print(platform.python_version())
print(sys.version_info.minor)
print(sys.base_prefix)";

/// An interpreter that can run the peers.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Python {
    /// As given on the command line.
    pub(crate) program: PathBuf,
    pub(crate) version: String,
    pub(crate) minor: u32,
    /// Tells builds apart: a distribution's is optimised (PGO), one made by hand often is not.
    pub(crate) prefix: String,
    /// Where the peers are installed for it.
    pub(crate) venv: PathBuf,
    /// `name==version` of each peer.
    pub(crate) peers: Vec<String>,
}

/// What an interpreter says about itself.
#[derive(Debug)]
pub(crate) struct Facts {
    version: String,
    pub(crate) minor: u32,
    prefix: String,
}

/// Asks `program` who it is.
pub(crate) fn facts(program: &Path) -> io::Result<Facts> {
    let said = run(Command::new(program).args(["-c", WHO_ARE_YOU]))?;
    let [version, minor, prefix] = *said.lines().collect::<Vec<_>>().as_slice() else {
        return Err(io::Error::other(format!("{} does not say who it is: {said:?}", program.display())));
    };
    Ok(Facts {
        version: version.to_owned(),
        minor: minor.parse().map_err(io::Error::other)?,
        prefix: prefix.to_owned(),
    })
}

/// Installs the peers for `program` below `target`, if they are not there yet.
pub(crate) fn install(program: &Path, target: &Path) -> io::Result<Python> {
    let Facts { version, minor, prefix } = facts(program)?;
    let venv = target.join("venv-bench").join(&version);
    let stamp = venv.join("installed.txt");
    let wanted = format!("# {prefix}\n{REQUIREMENTS}");
    if fs::read_to_string(&stamp).ok().as_deref() != Some(wanted.as_str()) {
        eprintln!("bench: installing the peers into {}", venv.display());
        run(Command::new(program).args(["-m", "venv", "--clear"]).arg(&venv))?;
        let requirements = venv.join("requirements.txt");
        fs::write(&requirements, REQUIREMENTS)?;
        run(Command::new(venv.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(&requirements))?;
        fs::write(&stamp, &wanted)?;
    }
    let peers = REQUIREMENTS.lines().filter(|line| line.contains("==")).map(str::to_owned).collect();
    Ok(Python { program: program.to_path_buf(), version, minor, prefix, venv, peers })
}

/// nginx's own words about its version.
pub(crate) fn nginx_version() -> Option<String> {
    let output = Command::new(contenders::nginx()?).arg("-v").output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    text.trim().rsplit_once(": ").map(|(_, version)| version.to_owned())
}

/// Runs a command to its end; its standard output, or an error with all that it said.
pub(crate) fn run(command: &mut Command) -> io::Result<String> {
    let output = command.stdin(Stdio::null()).output();
    let failed = |why: String| io::Error::other(format!("{command:?} failed: {why}"));
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Err(failed(format!("{}\n{}", output.status, said.concat())))
}
