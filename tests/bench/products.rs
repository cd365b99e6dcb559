//! The binaries of this workspace that the bench measures: built with the bench's own profile, found beside the bench.

use std::{
    collections::BTreeSet,
    env, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::peers::{self, Python, run};

/// For which the extension is built when nobody names an interpreter.
const DEFAULT_PYTHON: &str = "python3";

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

    /// Builds the extension for every minor version among `pythons`, where the worker looks for it. One serves all builds of
    /// a version, because it is linked to none.
    pub(crate) fn build_extensions(&self, pythons: &[Python]) -> io::Result<()> {
        let default = peers::facts(Path::new(DEFAULT_PYTHON))?;
        let mut built = BTreeSet::new();
        for python in pythons.iter().filter(|python| built.insert(python.minor)) {
            let package = ["build", "-p", "worker-python"];
            if python.minor == default.minor {
                self.cargo(&package, &self.target, None)?;
            } else {
                let target = self.target.join(format!("python3.{}", python.minor));
                self.cargo(&package, &target, Some(&python.program))?;
            }
        }
        Ok(())
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
        // What cargo set for this program would look like a change of settings to build scripts.
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_")
                || text.starts_with("CARGO_MANIFEST_")
                || text == "LD_LIBRARY_PATH"
            {
                cargo.env_remove(&name);
            }
        }
        if let Some(python) = python {
            cargo.env("PYO3_PYTHON", python);
        }
        eprintln!("bench: cargo {} ({})", arguments.join(" "), self.profile);
        run(&mut cargo).map(|_output| ())
    }
}
