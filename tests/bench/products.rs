//! The binaries of this workspace that the bench measures: built with the bench's own profile, found beside the bench.

use std::{
    env, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::peers::{Python, run};

/// Where this bench and what it measures were built.
#[derive(Debug, Clone)]
pub(crate) struct Products {
    /// `target/<profile>`.
    pub(crate) binaries: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) profile: String,
    pub(crate) workspace: PathBuf,
}

impl Products {
    /// Found by the bench's own place.
    pub(crate) fn locate() -> io::Result<Self> {
        let bench = env::current_exe()?;
        let lost = || io::Error::other(format!("{} is not in target/<profile>", bench.display()));
        let binaries = bench.parent().ok_or_else(lost)?;
        let target = binaries.parent().ok_or_else(lost)?;
        let profile = binaries.file_name().and_then(|name| name.to_str()).ok_or_else(lost)?;
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or_else(lost)?;
        Ok(Products {
            binaries: binaries.to_path_buf(),
            target: target.to_path_buf(),
            profile: profile.to_owned(),
            workspace: workspace.to_path_buf(),
        })
    }

    /// Builds what does not depend on an interpreter. Each package alone, as a user builds it: together they would share
    /// features that each of them does without.
    pub(crate) fn build_native(&self) -> io::Result<()> {
        self.cargo(&["build"], &self.target, None)?;
        self.cargo(&["build", "-p", "tests", "--bin", "bare_hyper"], &self.target, None)
    }

    /// Builds the extension for one interpreter, where the worker looks for it.
    pub(crate) fn build_extension(&self, python: &Python, default_minor: u32) -> io::Result<()> {
        let target = if python.minor == default_minor {
            self.target.clone()
        } else {
            self.target.join(format!("python3.{}", python.minor))
        };
        self.cargo(&["build", "-p", "worker-python"], &target, Some(&python.program))
    }

    /// The commit that is checked out, with a mark when files differ from it.
    pub(crate) fn commit(&self) -> String {
        let mut git = Command::new("git");
        git.arg("-C").arg(&self.workspace).args(["describe", "--always", "--dirty", "--exclude=*"]);
        run(&mut git).map_or_else(|_no_repository| "unknown".to_owned(), |commit| commit.trim().to_owned())
    }

    fn cargo(&self, arguments: &[&str], target: &Path, python: Option<&Path>) -> io::Result<()> {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(arguments).args(["--locked", "--profile", &self.profile]);
        cargo.arg("--manifest-path").arg(self.workspace.join("Cargo.toml"));
        cargo.arg("--target-dir").arg(target);
        if let Some(python) = python {
            cargo.env("PYO3_PYTHON", python);
        }
        eprintln!("bench: cargo {} ({})", arguments.join(" "), self.profile);
        run(&mut cargo).map(|_output| ())
    }
}
