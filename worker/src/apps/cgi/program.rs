//! One running program: started in a process group of its own, watched without blocking, ended with all of its group. Knows pipes,
//! and nothing of what flows through them.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::fd::OwnedFd,
    path::Path,
    process::{Command, Stdio},
    rc::Rc,
    time::Duration,
};

use command_group::CommandGroup as _;
use nix::{
    sys::{
        signal::{Signal, killpg},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::Pid,
};
use tokio::{
    net::unix::pipe,
    signal::unix::{self, SignalKind},
    time::timeout,
};

use super::{guard::Guard, meta_variables::Variables};

/// From TERM to KILL: enough to remove a temporary file, short enough that a place is not held by somebody who ignores TERM.
const TERM_GRACE: Duration = Duration::from_secs(1);

/// What to start.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// Absolute; run in its own directory (RFC 3875 §7.2).
    pub(super) file: &'a Path,
    pub(super) arguments: Vec<OsString>,
    /// All of its environment.
    pub(super) variables: Variables,
    pub(super) input: Input,
}

/// What the program reads.
#[derive(Debug)]
pub(super) enum Input {
    /// Nothing.
    Empty,
    /// A pipe that we fill.
    Streamed,
    /// A file, from its beginning.
    Spooled(File),
}

/// Our ends of its pipes.
#[derive(Debug)]
pub(super) struct Pipes {
    /// There for [`Input::Streamed`].
    pub(super) stdin: Option<pipe::Sender>,
    pub(super) stdout: pipe::Receiver,
    pub(super) stderr: pipe::Receiver,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// By itself, with this code.
    Exited(i32),
    /// By a signal.
    Killed(Signal),
    /// Somebody else reaped it.
    Unknown,
}

/// A program that was started and is not reaped: until then its number is no other group's.
#[derive(Debug)]
pub(super) struct Program {
    /// Of the process and of its group.
    pid: Pid,
    ending: Option<Ending>,
    /// Taken before the start, so that no end is missed.
    child_signals: unix::Signal,
    guard: Rc<Guard>,
    is_finished: bool,
}

impl Program {
    /// Starts it.
    ///
    /// # Errors
    /// What the kernel says: no such interpreter, no memory, too many processes or descriptors.
    pub(super) fn start(plan: Plan<'_>, guard: &Rc<Guard>) -> io::Result<(Self, Pipes)> {
        let child_signals = unix::signal(SignalKind::child())?;
        let mut command = Command::new(plan.file);
        command.args(plan.arguments).env_clear().envs(plan.variables);
        command.current_dir(plan.file.parent().unwrap_or(Path::new("/")));
        let mut stdin = None;
        match plan.input {
            Input::Empty => command.stdin(Stdio::null()),
            Input::Spooled(file) => command.stdin(file),
            Input::Streamed => {
                let (reader, writer) = io::pipe()?;
                stdin = Some(pipe::Sender::from_owned_fd(OwnedFd::from(writer))?);
                command.stdin(reader)
            }
        };
        let (stdout, to_stdout) = io::pipe()?;
        let (stderr, to_stderr) = io::pipe()?;
        let stdout = pipe::Receiver::from_owned_fd(OwnedFd::from(stdout))?;
        let stderr = pipe::Receiver::from_owned_fd(OwnedFd::from(stderr))?;
        command.stdout(to_stdout).stderr(to_stderr);
        let pid = Pid::from_raw(command.group_spawn()?.id().cast_signed());
        guard.watch(pid);
        let program = Self { pid, ending: None, child_signals, guard: Rc::clone(guard), is_finished: false };
        Ok((program, Pipes { stdin, stdout, stderr }))
    }

    /// Waits for the end of the process itself, which stays a zombie: it guards the number of its group.
    pub(super) async fn ended(&mut self) -> Ending {
        loop {
            if let Some(ending) = self.ending.or_else(|| look(self.pid, WaitPidFlag::WNOWAIT)) {
                self.ending = Some(ending);
                return ending;
            }
            if self.child_signals.recv().await.is_none() {
                return Ending::Unknown;
            }
        }
    }

    /// Ends what is left of it, and reaps it: TERM if it still runs, then KILL to all of its group.
    pub(super) async fn finish(mut self) {
        if self.ending.is_none() {
            self.signal(Signal::SIGTERM);
            let _ending_or_time = timeout(TERM_GRACE, self.ended()).await;
        }
        self.signal(Signal::SIGKILL);
        let _ending = self.ended().await;
        self.guard.forget(self.pid);
        let _reaped = look(self.pid, WaitPidFlag::empty());
        self.is_finished = true;
    }

    fn signal(&self, signal: Signal) {
        let _gone = killpg(self.pid, signal);
    }
}

impl Drop for Program {
    /// The worker leaves in the middle: nothing may outlive it.
    fn drop(&mut self) {
        if !self.is_finished {
            self.signal(Signal::SIGKILL);
        }
    }
}

/// One look, without waiting, at whether a child is over.
fn look(pid: Pid, flags: WaitPidFlag) -> Option<Ending> {
    match waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | flags) {
        Ok(WaitStatus::Exited(_, code)) => Some(Ending::Exited(code)),
        Ok(WaitStatus::Signaled(_, signal, _)) => Some(Ending::Killed(signal)),
        Ok(_still_alive) => None,
        Err(_not_our_child) => Some(Ending::Unknown),
    }
}
