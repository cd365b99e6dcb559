//! A control group of a test's own, as a container has one: of version 2 where that has the controller, else of version 1.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use crate::{patience::try_wait_for, tools::report_missing};

/// A directory below /sys/fs/cgroup, removed with this value once its processes are gone.
#[derive(Debug)]
pub struct ControlGroup {
    directory: PathBuf,
    /// Which of the two file names a limit has.
    version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl ControlGroup {
    /// Makes one with this controller (`cpu`, `memory`); nothing where the machine lets us make none, after saying so.
    ///
    /// # Panics
    /// When it cannot be made and REQUIRE_ALL=1.
    #[must_use]
    pub fn with(controller: &str) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let root = Path::new("/sys/fs/cgroup");
        let delegated = fs::read_to_string(root.join("cgroup.subtree_control")).unwrap_or_default();
        let (parent, version) = match delegated.split_whitespace().any(|name| name == controller) {
            true => (root.to_owned(), Version::Two),
            false => (root.join(controller), Version::One),
        };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = parent.join(format!("supervise-test-{}-{number}", std::process::id()));
        match parent.join("cgroup.procs").is_file().then(|| fs::create_dir(&directory)) {
            Some(Ok(())) => Some(Self { directory, version }),
            Some(Err(_)) | None => {
                report_missing(
                    &format!("a writable cgroup controller `{controller}`"),
                    "run the tests as root",
                );
                None
            }
        }
    }

    /// The file into which a process writes its id to join.
    #[must_use]
    pub fn members(&self) -> String {
        self.directory.join("cgroup.procs").display().to_string()
    }

    /// Lets it use so many percent of one core.
    pub fn limit_cores(&self, percent: u32) {
        match self.version {
            Version::One => {
                self.set("cpu.cfs_period_us", "100000");
                self.set("cpu.cfs_quota_us", &(percent * 1_000).to_string());
            }
            Version::Two => self.set("cpu.max", &format!("{} 100000", percent * 1_000)),
        }
    }

    /// Lets it use so much memory, and no swap.
    pub fn limit_memory(&self, bytes: u64) {
        let bytes = bytes.to_string();
        match self.version {
            Version::One => {
                self.set("memory.limit_in_bytes", &bytes);
                // Counted only where the kernel was started so.
                let _ = fs::write(self.directory.join("memory.memsw.limit_in_bytes"), &bytes);
            }
            Version::Two => {
                self.set("memory.max", &bytes);
                let _ = fs::write(self.directory.join("memory.swap.max"), "0");
            }
        }
    }

    fn set(&self, file: &str, value: &str) {
        let path = self.directory.join(file);
        fs::write(&path, value).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // It cannot be removed before the kernel has let the last process go.
        let _ = try_wait_for(Duration::from_secs(5), || fs::remove_dir(&self.directory).ok());
    }
}
