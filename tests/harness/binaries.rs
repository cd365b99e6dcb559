//! Builds the products once for a test run, by the same cargo that runs the tests, and says where they are.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use nix::fcntl::FlockArg;

use crate::machine::lock;

/// Profile of the tested products: optimised as a release, but linked in seconds.
pub(crate) const PROFILE: &str = "e2e";

/// The built programs.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// Directory that holds `supervise`, `worker` and, once built, the Python extension.
    pub directory: PathBuf,
}

impl Binaries {
    /// The supervisor.
    #[must_use]
    pub fn supervise(&self) -> PathBuf {
        self.directory.join("supervise")
    }

    /// The worker.
    #[must_use]
    pub fn worker(&self) -> PathBuf {
        self.directory.join("worker")
    }

    /// The native example application.
    #[must_use]
    pub fn axum_example(&self) -> PathBuf {
        self.directory.join("examples/axum")
    }
}

/// The root of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate stands in the repository")
}

/// Where cargo puts what it builds.
pub(crate) fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| repository().join("target"), |path| repository().join(path))
}

/// Directory of the products of the default build.
#[must_use]
pub fn product_directory() -> PathBuf {
    target_directory().join(PROFILE)
}

/// The programs, built when this process first asks.
///
/// # Panics
/// When they do not compile; cargo's words are above.
pub(crate) fn built() -> &'static Binaries {
    static BUILT: OnceLock<Binaries> = OnceLock::new();
    BUILT.get_or_init(|| {
        once_a_run("binaries", || {
            let packages = ["-p", "supervisor", "-p", "worker", "--bins", "--examples"];
            cargo(&[&["build", "--profile", PROFILE], &packages[..]].concat(), &[]);
        });
        Binaries { directory: product_directory() }
    })
}

/// The same programs in a directory of the test's own, for tests that replace one of them.
///
/// # Panics
/// When they cannot be copied.
#[must_use]
pub fn copy_of_binaries(into: &Path) -> Binaries {
    let built = built();
    fs::create_dir_all(into).expect("a directory can be made");
    for program in [built.supervise(), built.worker()] {
        let copy = into.join(program.file_name().expect("a program has a name"));
        fs::copy(&program, copy).unwrap_or_else(|error| panic!("cannot copy {}: {error}", program.display()));
    }
    Binaries { directory: into.to_owned() }
}

/// Runs `build` once for this test run. nextest starts a process for each test and names the run; under `cargo test` the
/// caller's own once-cell is enough, and cargo finds in a moment that all is fresh.
pub(crate) fn once_a_run(name: &str, build: impl FnOnce()) {
    let directory = target_directory().join("tests-built");
    let _lock = lock(&directory.join("lock"), FlockArg::LockExclusive);
    let run = std::env::var("NEXTEST_RUN_ID").ok();
    let stamp = directory.join(name);
    if run.is_some() && fs::read_to_string(&stamp).ok() == run {
        return;
    }
    build();
    if let Some(run) = run {
        let _ = fs::write(&stamp, run);
    }
}

/// Runs cargo in the repository.
///
/// # Panics
/// When it fails.
pub(crate) fn cargo(arguments: &[&str], environment: &[(&str, &Path)]) {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(repository());
    // What cargo set for this test program would look like a change of settings to build scripts.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "LD_LIBRARY_PATH"
        {
            command.env_remove(name.as_ref());
        }
    }
    command.envs(environment.iter().copied());
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed ({}):\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}
