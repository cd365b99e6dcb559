//! The machine as a shared good: tests that load or time it have it alone, all others share it. A file lock, so that it holds
//! between threads of one test program and between the processes of nextest alike.

use std::fs::File;

use nix::fcntl::{Flock, FlockArg};

use crate::{ServerBuilder, binaries};

/// A share of the machine, held until it is dropped. Every server is started through one.
#[derive(Debug)]
pub struct Machine {
    _lock: Option<Flock<File>>,
}

impl Machine {
    /// The whole machine: for tests under load and tests that measure time.
    #[must_use]
    pub fn alone() -> Self {
        Self::take(Some(FlockArg::LockExclusive))
    }

    /// A share of it: for tests that only wait for conditions.
    #[must_use]
    pub fn shared() -> Self {
        Self::take(Some(FlockArg::LockShared))
    }

    /// No share at all: for a test that takes a minute and hardly any processor time, which nobody should wait for.
    #[must_use]
    pub fn beside_others() -> Self {
        Self::take(None)
    }

    fn take(how: Option<FlockArg>) -> Self {
        // What is built must not be built while another test measures.
        let directory = binaries::target_directory();
        let _ = binaries::built();
        Self { _lock: how.map(|how| lock(&directory.join("tests-machine.lock"), how)) }
    }

    /// Describes a server to start.
    #[must_use]
    pub fn server(&self) -> ServerBuilder<'_> {
        ServerBuilder::new(self)
    }
}

/// Waits for the lock on `path`; the kernel releases it with the last descriptor, so a killed test leaves none behind.
pub(crate) fn lock(path: &std::path::Path, how: FlockArg) -> Flock<File> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).expect("the target directory can be made");
    }
    let file = File::options().create(true).truncate(false).write(true).open(path);
    let mut file =
        file.unwrap_or_else(|error| panic!("cannot open the lock file {}: {error}", path.display()));
    loop {
        match Flock::lock(file, how) {
            Ok(lock) => return lock,
            // A signal of the terminal or a debugger: ask again.
            Err((again, nix::errno::Errno::EINTR)) => file = again,
            Err((_, error)) => panic!("cannot lock {}: {error}", path.display()),
        }
    }
}
