//! The guard: a small process beside the worker that ends the programs if the worker cannot, because it was killed. It knows
//! process groups and a pipe; when the pipe ends, the worker is gone, and so must be the groups that are still on its list.
//!
//! Not `PR_SET_PDEATHSIG`, which reaches the program but not what it started, and not a shim around each program, which would cost
//! every request a second exec. The guard has a group of its own, so that it outlives a kill of the worker's.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    io::{self, PipeReader, PipeWriter, Read as _, Write as _},
    process::{Command, ExitCode, Stdio},
};

use command_group::CommandGroup as _;
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::{
        signal::{SigSet, Signal, killpg},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::Pid,
};

/// The only argument of a worker program that is to be a guard.
pub const GUARD_ARGUMENT: &str = "--cgi-guard";
/// This very program, even if its file was replaced meanwhile.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// The worker's end.
#[derive(Debug)]
pub(super) struct Guard {
    pipe: RefCell<PipeWriter>,
    process: Cell<Pid>,
    /// What the guard knows, for its successor.
    groups: RefCell<BTreeSet<i32>>,
}

impl Guard {
    /// Starts the process.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn start() -> io::Result<Self> {
        let (pipe, process) = spawn()?;
        Ok(Self { pipe: RefCell::new(pipe), process: Cell::new(process), groups: RefCell::default() })
    }

    /// Puts a group on the list.
    pub(super) fn watch(&self, group: Pid) {
        self.groups.borrow_mut().insert(group.as_raw());
        self.tell(group.as_raw());
    }

    /// Takes it off again; before its leader is reaped, because then the number may become another's.
    pub(super) fn forget(&self, group: Pid) {
        self.groups.borrow_mut().remove(&group.as_raw());
        self.tell(-group.as_raw());
    }

    fn tell(&self, record: i32) {
        let told = self.pipe.borrow_mut().write_all(&record.to_ne_bytes());
        if let Err(error) = told.or_else(|_killed_or_stopped| self.replace()) {
            tracing::error!("no guard for CGI programs: {error}; they would outlive a killed worker");
        }
    }

    /// A new guard in place of one that does not listen any more.
    fn replace(&self) -> io::Result<()> {
        let old = self.process.get();
        let _gone = killpg(old, Signal::SIGKILL);
        let _reaped = waitid(Id::Pid(old), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
        let (mut pipe, process) = spawn()?;
        for group in self.groups.borrow().iter() {
            pipe.write_all(&group.to_ne_bytes())?;
        }
        self.pipe.replace(pipe);
        self.process.set(process);
        Ok(())
    }
}

fn spawn() -> io::Result<(PipeWriter, Pid)> {
    let (reader, writer) = io::pipe()?;
    // A guard that was stopped must not stop the worker.
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let mut command = Command::new(OWN_PROGRAM);
    command.arg(GUARD_ARGUMENT).env_clear().current_dir("/");
    command.stdin(reader).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.group_spawn()?;
    Ok((writer, Pid::from_raw(child.id().cast_signed())))
}

/// The guard process: keeps the list until the pipe ends, then kills what is on it.
#[must_use]
pub fn run() -> ExitCode {
    // What ends a worker is no reason for its guard to go first.
    let _cannot_fail = SigSet::all().thread_block();
    let Ok(input) = std::os::fd::AsFd::as_fd(&io::stdin()).try_clone_to_owned() else {
        return ExitCode::FAILURE;
    };
    let mut pipe = PipeReader::from(input);
    let mut groups = BTreeSet::new();
    let mut record = [0; size_of::<i32>()];
    while pipe.read_exact(&mut record).is_ok() {
        match i32::from_ne_bytes(record) {
            0 => {}
            group if group > 0 => {
                groups.insert(group);
            }
            group => {
                groups.remove(&-group);
            }
        }
    }
    for group in groups {
        let _gone = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    ExitCode::SUCCESS
}
