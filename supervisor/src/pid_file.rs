//! The pid file: refused while the process that it names lives, replaced when that is gone, removed at the end if it is still ours.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nix::{sys::signal::kill, unistd::Pid};

use crate::{
    error::{ExitStatus, Expected, ExpectedError},
    proc_files,
};

/// A pid file of ours.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Refuses a pid file whose process lives; to be asked before anything is bound.
    ///
    /// # Errors
    /// Exit 69, naming the process.
    pub fn check(path: &Path) -> Expected<()> {
        let Ok(text) = fs::read_to_string(path) else { return Ok(()) };
        let Some(pid) = text.trim().parse().ok().filter(|&pid| pid > 0).map(Pid::from_raw) else {
            return Ok(());
        };
        // EPERM is a process too: another user's.
        let lives = !matches!(kill(pid, None), Err(nix::errno::Errno::ESRCH));
        if !lives || pid == Pid::this() || !runs_this_program(pid) {
            return Ok(());
        }
        let name = proc_files::command_line(pid).unwrap_or_else(|| "supervise".to_owned());
        let message = format!("{} names a living process: {name} (pid {pid})", path.display());
        Err(ExpectedError::new("pid-file/in-use", ExitStatus::Unavailable, message)
            .help(format!("stop it by `kill {pid}`, or write another file by --pid")))
    }

    /// Writes our pid; readers see either all of it or none.
    ///
    /// # Errors
    /// Exit 77 or 71 when the file cannot be written.
    pub fn write(path: &Path) -> Expected<Self> {
        let beside = path.with_extension(format!("{}.new", Pid::this()));
        let written =
            fs::write(&beside, format!("{}\n", Pid::this())).and_then(|()| fs::rename(&beside, path));
        match written {
            Ok(()) => Ok(Self { path: path.to_owned() }),
            Err(error) => {
                let message = format!("the pid file {} cannot be written: {error}", path.display());
                Err(ExpectedError::new("pid-file/unwritable", ExitStatus::of_unwritable(&error), message))
            }
        }
    }

    /// Removes it, unless another wrote his own there since.
    pub fn remove(&self) {
        let ours = fs::read_to_string(&self.path).is_ok_and(|text| text.trim() == Pid::this().to_string());
        if ours {
            let _left_behind = fs::remove_file(&self.path);
        }
    }
}

/// After a crash the pid in the file may belong to anybody by now. A process that cannot be looked at counts as ours.
fn runs_this_program(pid: Pid) -> bool {
    let name = |link: String| {
        let target = fs::read_link(link).ok()?;
        let name = target.file_name()?.to_str()?;
        // What an upgrade left running.
        Some(name.trim_end_matches(" (deleted)").to_owned())
    };
    match (name(format!("/proc/{pid}/exe")), name("/proc/self/exe".to_owned())) {
        (Some(theirs), Some(ours)) => theirs == ours,
        (None, _) | (_, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::PidFile;
    use crate::error::ExitStatus;

    #[test]
    fn a_stale_file_is_replaced_and_a_living_one_refused() {
        let path = std::env::temp_dir().join(format!("supervise-{}.pid", std::process::id()));
        // Larger than any pid that Linux gives.
        fs::write(&path, "99999999\n").expect("written");
        PidFile::check(&path).expect("stale");
        let ours = PidFile::write(&path).expect("written");
        PidFile::check(&path).expect("our own");
        let program = std::env::current_exe().expect("this test program");
        let silent = std::process::Stdio::null();
        let mut child =
            std::process::Command::new(program).arg("--list").stdout(silent).spawn().expect("it runs");
        fs::write(&path, child.id().to_string()).expect("written");
        // It may be over already, but it is not gone until it is waited for.
        assert_eq!(PidFile::check(&path).expect_err("it lives").exit, ExitStatus::Unavailable);
        ours.remove();
        assert!(path.exists(), "another's file stays");
        child.wait().expect("ours");
        PidFile::check(&path).expect("gone");
        fs::remove_file(&path).expect("there");
    }
}
