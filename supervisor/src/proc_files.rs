//! The small files of `/proc` that say what a process uses. Each read is a few microseconds and takes no lock of the
//! process it asks about, so the deciding thread may do it. Nothing here trusts that `/proc` is there.

use std::{
    fs::{self, File},
    io::Read,
};

use nix::{
    sys::resource::{Resource, getrlimit},
    unistd::{Pid, SysconfVar, sysconf},
};

/// `/proc/PID/stat`, as far as it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessStat {
    /// One letter; T is stopped, Z is over and not reaped.
    pub state: char,
    /// CPU time in user mode, in clock ticks.
    pub user_ticks: u64,
    /// CPU time in the kernel, in clock ticks.
    pub system_ticks: u64,
    /// Threads now.
    pub threads: u64,
    /// Start, in clock ticks after boot.
    pub start_time_ticks: u64,
    /// Address space in bytes.
    pub virtual_bytes: u64,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
}

/// Reads `/proc/PID/stat`.
#[must_use]
pub fn stat(pid: Pid) -> Option<ProcessStat> {
    // 52 numbers of at most 20 digits, and a name of 16 bytes, fit.
    let mut buffer = [0; 1024];
    let length = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut buffer).ok()?;
    parse_stat(std::str::from_utf8(&buffer[..length]).ok()?)
}

fn parse_stat(text: &str) -> Option<ProcessStat> {
    // The name is in brackets and may itself hold brackets and blanks.
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    // proc(5) counts from 1 and the state, first here, is its number 3.
    let number = |field: usize| fields.get(field - 3).and_then(|text| text.trim().parse::<u64>().ok());
    Some(ProcessStat {
        state: fields.first()?.chars().next()?,
        user_ticks: number(14)?,
        system_ticks: number(15)?,
        threads: number(20)?,
        start_time_ticks: number(22)?,
        virtual_bytes: number(23)?,
        resident_bytes: number(24)? * page_bytes(),
    })
}

/// Open descriptors of a process.
#[must_use]
pub fn open_descriptors(pid: Pid) -> Option<u64> {
    let directory = format!("/proc/{pid}/fd");
    // Since Linux 6.2 the size of the directory is the number; before, it is 0 and somebody has to count.
    match fs::metadata(&directory).ok()?.len() {
        0 => Some(fs::read_dir(directory).ok()?.count() as u64),
        counted => Some(counted),
    }
}

/// The most descriptors that this process may have.
#[must_use]
pub fn descriptor_limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft)
}

/// Clock ticks a second.
#[must_use]
pub fn ticks_per_second() -> u64 {
    // 100 on every Linux there is; the kernel tells it to user space so.
    sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| ticks.try_into().ok()).unwrap_or(100)
}

fn page_bytes() -> u64 {
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|bytes| bytes.try_into().ok()).unwrap_or(4096)
}

/// The command line of a process, cut for a message.
#[must_use]
pub fn command_line(pid: Pid) -> Option<String> {
    const LONGEST: usize = 60;
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<_> = bytes.split(|&byte| byte == 0).map(String::from_utf8_lossy).collect();
    let text: String = words.join(" ").trim().chars().take(LONGEST).collect();
    if text.is_empty() {
        fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim().to_owned())
    } else {
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::{Pid, open_descriptors, parse_stat, stat};

    #[test]
    fn a_name_with_brackets_and_blanks_is_no_trap() {
        let line = "7 (a) b (c) T 1 7 7 0 -1 4194560 1 0 0 0 11 12 0 0 20 0 3 0 4242 8192 2 18446744073709551615 1 1";
        let stat = parse_stat(line).expect("well formed");
        assert_eq!((stat.state, stat.user_ticks, stat.system_ticks), ('T', 11, 12));
        assert_eq!((stat.threads, stat.start_time_ticks, stat.virtual_bytes), (3, 4242, 8192));
        assert!(parse_stat("7 (a) T 1").is_none());
    }

    #[test]
    fn this_process_can_be_looked_at() {
        let me = stat(Pid::this()).expect("/proc is there");
        assert!(me.resident_bytes > 0 && me.threads > 0);
        assert!(open_descriptors(Pid::this()).is_some_and(|count| count >= 3));
    }
}
