//! The Pythons of this machine: found, each with a virtual environment for the guest applications and the extension built for it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use crate::{
    binaries::{self, once_a_run},
    tools::{Tool, find_program, report_missing},
};

/// The oldest Python that is supported.
const OLDEST: (u32, u32) = (3, 9);
/// The newest minor version that is looked for.
const NEWEST_MINOR: u32 = 15;
/// The extension's file.
const EXTENSION: &str = "libworker_python.so";
/// The directory and profile of the extensions for all Pythons but the default one.
const SHARED: &str = "pythons";

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
        // A cell each: who needs the default one does not wait until another is built.
        static BUILT: Mutex<BTreeMap<String, Arc<OnceLock<()>>>> = Mutex::new(BTreeMap::new());
        let cell = {
            let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(built.entry(self.minor_version()).or_default())
        };
        cell.get_or_init(|| self.build_extension_once());
    }

    /// Builds the extension with its test-only function; gives the file.
    ///
    /// # Panics
    /// When it does not compile.
    #[must_use]
    pub fn build_wall_tests(&self) -> PathBuf {
        let product = binaries::target_directory().join("walls").join(EXTENSION);
        once_a_run("walls", || self.build_aside(&["--features", "wall-tests"], &product));
        product
    }

    fn build_extension_once(&self) {
        let name = format!("python{}", self.minor_version());
        if self.is_default {
            let arguments = ["build", "--profile", binaries::PROFILE, "-p", "worker-python"];
            once_a_run(&name, || binaries::cargo(&arguments, &[("PYO3_PYTHON", &self.program)]));
        } else {
            let product = binaries::target_directory().join(&name).join(binaries::PROFILE).join(EXTENSION);
            once_a_run(&name, || self.build_aside(&[], &product));
        }
    }

    /// Builds an extension in the directory that all but the default one share, where cargo compiles again only what looks at the
    /// Python, and puts it at `product`, unless what is there is newer than all sources.
    fn build_aside(&self, features: &[&str], product: &Path) {
        let parent = product.parent().expect("a file stands in a directory");
        // Made before a build and put here after it: sources that were edited meanwhile are not in the product.
        let stamp = parent.join("built-from-what-is-older");
        if product.exists() && stamp.exists() && changed(&stamp) > newest_source() {
            return;
        }
        fs::create_dir_all(parent).expect("the target directory can be written");
        let next_stamp = parent.join("next-stamp");
        fs::write(&next_stamp, "").expect("the target directory can be written");
        let shared = binaries::target_directory().join(SHARED);
        let directory = shared.to_str().expect("the target directory is text");
        let arguments = ["build", "--profile", SHARED, "-p", "worker-python", "--target-dir", directory];
        binaries::cargo(&[&arguments, features].concat(), &[("PYO3_PYTHON", &self.program)]);
        // By a rename, because a process may have the older one loaded.
        let copy = parent.join("next-extension");
        fs::copy(shared.join(SHARED).join(EXTENSION), &copy).expect("the extension was built");
        fs::rename(&copy, product).expect("the extension can be put where it belongs");
        fs::rename(&next_stamp, &stamp).expect("the stamp can be put beside it");
    }
}

/// When a file was last changed, in seconds and nanoseconds.
fn changed(path: &Path) -> (i64, i64) {
    let found =
        fs::metadata(path).unwrap_or_else(|error| panic!("cannot look at {}: {error}", path.display()));
    (found.mtime(), found.mtime_nsec())
}

/// When one of the files from which extensions are built was last changed.
fn newest_source() -> (i64, i64) {
    fn newest(path: &Path) -> (i64, i64) {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| newest(&entry.path())).fold(changed(path), Ord::max)
    }
    let sources = ["Cargo.toml", "Cargo.lock", ".cargo", "protocol", "worker"];
    sources.map(|name| newest(&binaries::repository().join(name))).into_iter().max().expect("there are some")
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
