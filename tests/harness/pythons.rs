//! The Pythons of this machine: found, each with a virtual environment for the guest applications and the extension built for it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, OnceLock, PoisonError},
};

use crate::{
    binaries::{self, once_a_run},
    tools::{Tool, find_program, report_missing},
};

/// The oldest Python that is supported.
const OLDEST: (u32, u32) = (3, 9);
/// The newest minor version that is looked for.
const NEWEST_MINOR: u32 = 15;

/// One interpreter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Python {
    /// The real program, not a launcher script in front of it.
    pub program: PathBuf,
    /// Major, minor and patch version.
    pub version: (u32, u32, u32),
    is_default: bool,
}

impl Python {
    /// The `python3` that a user would get by typing it; nothing (after saying so) when there is none.
    ///
    /// # Panics
    /// When there is none and REQUIRE_ALL=1.
    #[must_use]
    pub fn default_one() -> Option<Self> {
        // Asks one candidate instead of all: under nextest every test is a process that would ask them again.
        static FOUND: OnceLock<Option<Python>> = OnceLock::new();
        let found = FOUND.get_or_init(|| {
            let (program, version) = ask(candidates().first()?)?;
            Some(Self { program, version, is_default: true })
        });
        if found.is_none() {
            report_missing("a python3 of version 3.9 or newer with its venv module", Tool::Python.mend());
        }
        found.clone()
    }

    /// One of each minor version from 3.9 up, the default one first.
    #[must_use]
    pub fn one_of_each_version() -> Vec<Self> {
        let mut chosen: Vec<Self> = Vec::new();
        for python in all() {
            if !chosen.iter().any(|other| other.version.1 == python.version.1) {
                chosen.push(python.clone());
            }
        }
        chosen
    }

    /// "3.11", for people and for directory names.
    #[must_use]
    pub fn minor_version(&self) -> String {
        format!("{}.{}", self.version.0, self.version.1)
    }

    /// The virtual environment with the guest applications' packages, made when it is not there yet. Without network it can be
    /// made elsewhere and named by SUPERVISE_TEST_VENVS.
    ///
    /// # Panics
    /// When it cannot be made; pip's words are in the message.
    #[must_use]
    pub fn virtual_environment(&self) -> PathBuf {
        let base = std::env::var_os("SUPERVISE_TEST_VENVS")
            .map_or_else(|| binaries::target_directory().join("venv"), PathBuf::from);
        let (major, minor, patch) = self.version;
        let directory = base.join(format!("python{major}.{minor}.{patch}"));
        let requirements = binaries::repository().join("tests/apps/requirements.txt");
        let wanted = fs::read_to_string(&requirements).expect("the requirements are in the repository");
        let stamp = directory.join("requirements-installed.txt");
        let _lock = crate::machine::lock(&base.join("lock"), nix::fcntl::FlockArg::LockExclusive);
        if fs::read_to_string(&stamp).ok().as_deref() != Some(&wanted) {
            let _ = fs::remove_dir_all(&directory);
            run(Command::new(&self.program).args(["-m", "venv"]).arg(&directory));
            let python = directory.join("bin/python3");
            run(Command::new(python).args(["-m", "pip", "install", "--quiet", "-r"]).arg(&requirements));
            fs::write(&stamp, &wanted).expect("the virtual environment can be written");
        }
        directory
    }

    /// Builds the extension for this interpreter where the worker looks for it.
    ///
    /// # Panics
    /// When it does not compile.
    pub fn build_extension(&self) {
        static BUILT: Mutex<BTreeMap<String, ()>> = Mutex::new(BTreeMap::new());
        let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
        built.entry(self.minor_version()).or_insert_with(|| self.build_extension_once());
    }

    /// Builds the extension with its test-only function in a directory of its own; gives the file.
    ///
    /// # Panics
    /// When it does not compile.
    #[must_use]
    pub fn build_wall_tests(&self) -> PathBuf {
        let directory = binaries::target_directory().join("walls");
        once_a_run("walls", || {
            let directory = directory.to_str().expect("the target directory is text");
            let features = ["-p", "worker-python", "--features", "wall-tests"];
            let [package, name, features, feature] = features;
            binaries::cargo(
                ["build", package, name, features, feature, "--target-dir", directory],
                &[("PYO3_PYTHON", &self.program)],
            );
        });
        directory.join("debug/libworker_python.so")
    }

    fn build_extension_once(&self) {
        let name = format!("python{}", self.minor_version());
        let arguments = ["build", "--profile", binaries::PROFILE, "-p", "worker-python"];
        let environment: [(&str, &Path); 1] = [("PYO3_PYTHON", &self.program)];
        once_a_run(&name, || {
            if self.is_default {
                binaries::cargo(arguments, &environment);
            } else {
                let directory = binaries::target_directory().join(&name);
                let directory = directory.to_str().expect("the target directory is text").to_owned();
                let [build, profile, name_of_profile, package, extension] = arguments;
                binaries::cargo(
                    [build, profile, name_of_profile, package, extension, "--target-dir", &directory],
                    &environment,
                );
            }
        });
    }
}

/// Every usable interpreter, the default one first.
fn all() -> &'static [Python] {
    static FOUND: OnceLock<Vec<Python>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let mut found: Vec<Python> = Vec::new();
        for (index, candidate) in candidates().iter().enumerate() {
            if let Some((program, version)) = ask(candidate)
                && !found.iter().any(|python| python.program == program)
            {
                found.push(Python { program, version, is_default: index == 0 });
            }
        }
        found
    })
}

/// Where interpreters are looked for; the first is the default one.
fn candidates() -> Vec<PathBuf> {
    let default = std::env::var_os("PYO3_PYTHON").map(PathBuf::from).or_else(|| find_program("python3"));
    let mut candidates = vec![default.unwrap_or_else(|| "python3".into())];
    for minor in OLDEST.1..=NEWEST_MINOR {
        candidates.extend(find_program(&format!("python3.{minor}")));
    }
    candidates.push("/usr/bin/python3".into());
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    for store in [home.join(".pyenv/versions"), home.join(".local/share/uv/python")] {
        let entries = fs::read_dir(store).into_iter().flatten().flatten();
        let mut programs: Vec<PathBuf> = entries.map(|entry| entry.path().join("bin/python3")).collect();
        programs.sort();
        candidates.extend(programs);
    }
    candidates
}

/// Asks a candidate what it is; nothing when it does not run, is too old or cannot make virtual environments.
fn ask(candidate: &Path) -> Option<(PathBuf, (u32, u32, u32))> {
    const QUESTION: &str =
        "import sys, venv, ensurepip; print(sys.executable, *sys.version_info[:3], sep='\\n')";
    let output = Command::new(candidate).args(["-c", QUESTION]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut lines = text.lines();
    let program = PathBuf::from(lines.next()?).canonicalize().ok()?;
    let mut numbers = lines.map(|line| line.parse::<u32>());
    let version = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
    (output.status.success() && (version.0, version.1) >= OLDEST).then_some((program, version))
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed ({}):\n{}\nWithout network, name ready virtual environments by SUPERVISE_TEST_VENVS.",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}
