//! Processes as /proc shows them: whose they are, whether they live, what they cost. And signals, by process id only.

use std::{fs, path::PathBuf};

use nix::{sys::signal, unistd::Pid};

pub use nix::sys::signal::Signal;

/// What /proc/PID/stat says of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its parent's id.
    pub parent: u32,
    /// Its process group.
    pub group: u32,
    /// Its state letter: R running, S sleeping, T stopped, Z dead but not reaped.
    pub state: char,
    /// The file name of its program, cut at 15 bytes.
    pub name: String,
}

impl Process {
    /// Looks a process up; nothing when there is none.
    #[must_use]
    pub fn find(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in parentheses and may hold any character, parentheses and spaces included.
        let (before, after) = stat.rsplit_once(')')?;
        let (_, name) = before.split_once('(')?;
        let mut fields = after.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        Some(Self { pid, parent, group, state, name: name.to_owned() })
    }

    /// Dead, but its parent did not ask how it died.
    #[must_use]
    pub fn is_zombie(&self) -> bool {
        self.state == 'Z'
    }
}

/// All processes.
#[must_use]
pub fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Process::find).collect()
}

/// The processes whose parent is `pid`, dead ones included.
#[must_use]
pub fn children_of(pid: u32) -> Vec<Process> {
    all().into_iter().filter(|process| process.parent == pid).collect()
}

/// Whether the process runs (a zombie does not).
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    Process::find(pid).is_some_and(|process| !process.is_zombie())
}

/// The value of a variable in the environment that a process was started with.
#[must_use]
pub fn environment_variable(pid: u32, name: &str) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let prefix = format!("{name}=");
    let entry = environment.split(|&byte| byte == 0).find(|entry| entry.starts_with(prefix.as_bytes()))?;
    Some(String::from_utf8_lossy(&entry[prefix.len()..]).into_owned())
}

/// The living processes that were started with this variable in their environment: a test's own, orphans included.
#[must_use]
pub fn with_environment(name: &str, value: &str) -> Vec<Process> {
    let mut processes = all();
    processes.retain(|process| environment_variable(process.pid, name).as_deref() == Some(value));
    processes
}

/// Sends a signal; a process that is gone is none of the sender's trouble.
pub fn send_signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).expect("a process id fits");
    let _ = signal::kill(Pid::from_raw(pid), signal);
}

/// Proportional share of memory in KiB: private pages whole, shared ones by the number of their users.
#[must_use]
pub fn proportional_memory_kib(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find(|line| line.starts_with("Pss:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// How often the process's threads were put to sleep and woken so far, of their own will or not.
#[must_use]
pub fn wake_ups(pid: u32) -> Option<u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let mut total = 0;
    for thread in threads.flatten() {
        let status = fs::read_to_string(thread.path().join("status")).ok()?;
        for line in status.lines().filter(|line| line.contains("ctxt_switches")) {
            total += line.split_whitespace().nth(1).and_then(|count| count.parse::<u64>().ok())?;
        }
    }
    Some(total)
}

/// The program that the process runs.
#[must_use]
pub fn program_of(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// The TCP ports (of IPv4) on which the process listens.
#[must_use]
pub fn listening_ports(pid: u32) -> Vec<u16> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok()?.to_str().map(str::to_owned));
    let inodes: Vec<String> =
        links.filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect();
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let mut ports = Vec::new();
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // Columns of proc(5): local address, state (0A is LISTEN), inode.
        let (Some(local), Some(&"0A"), Some(inode)) = (fields.get(1), fields.get(3), fields.get(9)) else {
            continue;
        };
        let port = local.split(':').nth(1).and_then(|port| u16::from_str_radix(port, 16).ok());
        if inodes.iter().any(|held| held == inode) {
            ports.extend(port);
        }
    }
    ports
}
