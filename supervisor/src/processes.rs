//! Processes: spawned into a group of their own, then known by pid, pidfd and start time alone. Never a `Child`: its
//! `wait()` can block, and workers that a template forks or an upgrade adopts have none. Decides nothing about a worker.
#![expect(
    unsafe_code,
    reason = "waitid by pidfd, pidfd_open, close_range, sigaction and what runs after fork have no safe wrapper"
)]

use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use command_group::CommandGroup;
use nix::{
    sys::signal::{
        SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, killpg, sigaction, sigprocmask,
    },
    unistd::Pid,
};
use supervisor_fleet::Exit;

use crate::{
    activation,
    proc_files::{self, ProcessStat},
    systemd,
};

/// Puts the process into the state that everything else here expects, whatever its parent left: default dispositions
/// (nohup and cron ignore some, an ignored SIGCHLD would reap our workers behind our back), no inherited descriptor that
/// a worker would get by accident, and orphans of the workers are ours to reap.
///
/// # Errors
/// What the kernel says; none is expected on Linux 5.11 and later.
pub fn take_over_inheritance() -> io::Result<()> {
    for signal in Signal::iterator() {
        // SIGPIPE stays ignored, as Rust's start-up has it: a broken pipe is an error code here.
        if matches!(signal, Signal::SIGKILL | Signal::SIGSTOP | Signal::SIGPIPE) {
            continue;
        }
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default disposition runs no code of ours.
        unsafe { sigaction(signal, &default) }?;
    }
    // SAFETY: changes flags of descriptors; closes none.
    let marked =
        unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if marked == -1 {
        return Err(io::Error::last_os_error());
    }
    nix::sys::prctl::set_child_subreaper(true)?;
    Ok(())
}

/// What a new process is to be.
#[derive(Debug)]
pub struct ProcessPlan<'a> {
    /// Absolute path.
    pub program: &'a Path,
    /// The name that `ps` shows.
    pub name: &'a str,
    /// After the name.
    pub arguments: Vec<OsString>,
    /// Added to our own environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Working directory.
    pub directory: PathBuf,
    /// The only descriptors beyond 0, 1 and 2 that it gets, under the same numbers.
    pub inherited: Vec<BorrowedFd<'a>>,
}

/// A process that we made and have not reaped: until then its pid cannot belong to another.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    pidfd: OwnedFd,
    /// Clock ticks after boot; with the pid the true name of a process.
    start_time: u64,
}

/// A process that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    /// How.
    pub exit: Exit,
    /// What it had used, where it could still be read.
    pub last: Option<ProcessStat>,
}

impl Process {
    /// Forks and executes; the new process leads a group of its own.
    ///
    /// # Errors
    /// What the kernel says: the program is not there, no memory, too many processes.
    pub fn spawn(plan: ProcessPlan<'_>) -> io::Result<Self> {
        let mut command = Command::new(plan.program);
        command.arg0(plan.name).args(plan.arguments).envs(plan.environment).current_dir(&plan.directory);
        // What opens the keys of certificates is no business of the application, and what systemd says is for us.
        for name in
            ["SUPERVISE_KEYFILE_PASSWORD"].iter().chain(&activation::VARIABLES).chain(&systemd::VARIABLES)
        {
            command.env_remove(name);
        }
        // A background group that reads the terminal would be stopped by it.
        command.stdin(Stdio::null());
        let inherited: Vec<RawFd> = plan.inherited.iter().map(AsRawFd::as_raw_fd).collect();
        // SAFETY: between fork and exec only async-signal-safe calls are made, and nothing is allocated.
        unsafe { command.pre_exec(move || prepare_child(&inherited)) };
        let child = command.group_spawn();
        let pid = Pid::from_raw(child?.id().cast_signed());
        let pidfd = open_pidfd(pid).inspect_err(|_| {
            // Nobody could watch it: it must go, and is reaped as a stranger.
            let _gone = killpg(pid, Signal::SIGKILL);
        })?;
        let start_time = proc_files::stat(pid).map_or(0, |stat| stat.start_time_ticks);
        Ok(Self { pid, pidfd, start_time })
    }

    /// The process id, for people and for `/proc`.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Clock ticks after boot at which it started.
    #[must_use]
    pub fn start_time(&self) -> u64 {
        self.start_time
    }

    /// Sends a signal to the process alone; by number, because real-time signals have no name.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn signal(&self, number: i32) -> io::Result<()> {
        // SAFETY: plain numbers and a null siginfo, which the kernel takes for "as kill() would".
        let sent = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                number,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        if sent == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Sends a signal to the process and all of its group. A group that is gone is no error.
    pub fn signal_group(&self, signal: Signal) {
        let _gone = killpg(self.pid, signal);
    }

    /// Reaps the process if it is over; first kills what is left of its group, while the zombie still guards the group's id.
    pub fn try_reap(&self) -> Option<Death> {
        let id = self.pidfd.as_raw_fd();
        wait(libc::P_PIDFD, id.cast_unsigned(), libc::WNOWAIT)?;
        self.signal_group(Signal::SIGKILL);
        let last = proc_files::stat(self.pid);
        let exited = wait(libc::P_PIDFD, id.cast_unsigned(), 0)?;
        Some(Death { exit: exited.exit, last })
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Reaps orphans that the kernel gave us, as pid 1 or as subreaper. Stops at a process that is `ours`: its exit is told by
/// its pidfd, and must not be stolen here.
pub fn reap_strangers(ours: impl Fn(Pid) -> bool) -> u32 {
    let mut reaped = 0;
    while let Some(over) = wait(libc::P_ALL, 0, libc::WNOWAIT) {
        if ours(over.pid) {
            break;
        }
        wait(libc::P_PID, over.pid.as_raw().cast_unsigned(), 0);
        reaped += 1;
    }
    reaped
}

struct Over {
    pid: Pid,
    exit: Exit,
}

/// One look, without waiting, at whether a child is over.
fn wait(kind: libc::idtype_t, id: libc::id_t, flags: i32) -> Option<Over> {
    // SAFETY: siginfo_t is plain data, and all zero is one of its values.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: info is valid for writes for the whole call.
    let result = unsafe { libc::waitid(kind, id, &raw mut info, libc::WEXITED | libc::WNOHANG | flags) };
    if result == -1 {
        return None;
    }
    // SAFETY: after waitid both are either set for a SIGCHLD or still zero.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return None;
    }
    let exit = if info.si_code == libc::CLD_EXITED { Exit::Code(status) } else { Exit::Signal(status) };
    Some(Over { pid: Pid::from_raw(pid), exit })
}

fn open_pidfd(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: the answer is a new descriptor or -1. The kernel sets CLOEXEC on it.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    match i32::try_from(fd) {
        // SAFETY: the descriptor is new, so nobody else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        Ok(_) | Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Takes over a descriptor that this process was started with.
///
/// # Errors
/// It is not open.
pub fn adopt_descriptor(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: asks for flags, and changes nothing, whatever the number is.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and whoever started this process left it to us: the caller takes each number once, before it opens others.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// In the child, right before exec: std passes our signal mask on, which blocks what the worker must hear; and only what the plan
/// lists loses its mark to be closed.
fn prepare_child(inherited: &[RawFd]) -> io::Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    for fd in inherited {
        // SAFETY: the descriptor is open in the parent for the whole spawn; this changes a flag of the child's copy.
        if unsafe { libc::fcntl(*fd, libc::F_SETFD, 0) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// "SIGKILL", "SIGRTMIN+8".
#[must_use]
pub fn signal_name(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) if number >= libc::SIGRTMIN() => format!("SIGRTMIN+{}", number - libc::SIGRTMIN()),
        Err(_) => format!("signal {number}"),
    }
}
