//! What a process and all its descendants have cost so far, read from outside.
//!
//! The figure is each living process's own CPU clock (`clock_getcpuclockid`: nanoseconds, all its threads, ended ones
//! included, no privilege needed) plus what it inherited from children that it reaped (`/proc/PID/stat`, in ticks of 10 ms,
//! so that this part is exact to 10 ms per process that ended; servers under measurement end none). The kernel brings a
//! running thread's clock up to date at its tick; the bench reads while the server is idle, where it is exact. Compared
//! with cgroup `cpuacct` over 2 s of load on bare hyper, uvicorn and granian: equal to four digits. Left out of both: work
//! that the kernel does in threads of its own, and interrupts while another process runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    time::Duration,
};

use nix::{
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};

/// Ticks of `/proc/PID/stat` and `/proc/stat`: `USER_HZ`, which is 100 on every architecture that Linux has left.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// The fields of `/proc/PID/stat` that are used here.
#[derive(Debug, Clone, Copy)]
struct Status {
    parent: i32,
    reaped: Duration,
}

/// CPU time of the tree below and including `root` since each process began.
pub(crate) fn cpu_time(root: i32) -> io::Result<Duration> {
    let statuses = statuses()?;
    let mut total = Duration::ZERO;
    for pid in members(root, &statuses) {
        // A process that ends between the listing and this line has passed its time on to its parent.
        if let (Some(status), Ok(own)) = (statuses.get(&pid), own_cpu_time(pid)) {
            total += own + status.reaped;
        }
    }
    Ok(total)
}

/// `root` and its living descendants.
pub(crate) fn pids(root: i32) -> io::Result<BTreeSet<i32>> {
    Ok(members(root, &statuses()?))
}

/// Proportional set size of one process, in bytes.
pub(crate) fn proportional_set_bytes(pid: i32) -> io::Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kibibytes = field(&rollup, "Pss:").ok_or_else(|| io::Error::other("no Pss in smaps_rollup"))?;
    Ok(kibibytes * 1024)
}

/// How often the threads of one process have gone to sleep so far, which is how often they were woken.
pub(crate) fn wake_ups(pid: i32) -> io::Result<u64> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        total += field(&status, "voluntary_ctxt_switches:")
            .ok_or_else(|| io::Error::other("no voluntary_ctxt_switches in status"))?;
    }
    Ok(total)
}

/// CPU time of this process itself.
pub(crate) fn own_cpu_time(pid: i32) -> io::Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid))?;
    Ok(clock_gettime(clock)?.into())
}

/// The number after a field's name in a file of `Name: value` lines.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

fn statuses() -> io::Result<BTreeMap<i32, Status>> {
    let mut statuses = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // Gone in the meantime: not there.
        let Ok(line) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        if let Some(status) = parse_status(&line) {
            statuses.insert(pid, status);
        }
    }
    Ok(statuses)
}

/// Fields after the program's name, which may itself hold blanks and brackets.
fn parse_status(line: &str) -> Option<Status> {
    let fields: Vec<&str> = line.rsplit_once(") ")?.1.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u32>().ok();
    // Counted from the state, which is field 3 of proc_pid_stat(5): 4 is the parent, 16 and 17 the reaped children's time.
    let parent = i32::try_from(number(1)?).ok()?;
    Some(Status { parent, reaped: TICK * (number(13)? + number(14)?) })
}

fn members(root: i32, statuses: &BTreeMap<i32, Status>) -> BTreeSet<i32> {
    let mut found = BTreeSet::from([root]);
    loop {
        let before = found.len();
        found.extend(
            statuses
                .iter()
                .filter(|(_, status)| found.contains(&status.parent))
                .map(|(pid, _)| *pid)
                .collect::<Vec<_>>(),
        );
        if found.len() == before {
            return found;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_after_the_last_bracket_of_the_name() {
        let line = "7 (a (b) c) S 5 7 7 0 -1 4194304 1 2 3 4 10 20 30 40 20 0 1 0 99 0 0";
        let status = parse_status(line).expect("a whole line");
        assert_eq!((status.parent, status.reaped), (5, TICK * 70));
    }

    /// A shell that burns CPU in itself, in a living child and in a child that it reaps: all three count, and the sum is what
    /// the shell's own `times` would say.
    #[test]
    fn a_tree_costs_what_its_living_and_its_ended_members_used() {
        let burn = |times| format!("i=0; while [ $i -lt {times} ]; do i=$((i+1)); done");
        let (short, long) = (burn(50_000), burn(250_000));
        let script = format!("exec 3<&0; {short}; ({long}); ({long}; echo done; read line <&3) & wait $!");
        let mut shell = std::process::Command::new("sh")
            .args(["-c", &script])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("sh runs");
        let root = i32::try_from(shell.id()).expect("a pid");
        let mut said = [0; 5];
        io::Read::read_exact(shell.stdout.as_mut().expect("piped"), &mut said)
            .expect("the last burn is over");
        assert_eq!(pids(root).expect("readable").len(), 2, "the shell and the living child");
        let whole = cpu_time(root).expect("readable");
        let shell_alone = own_cpu_time(root).expect("readable");
        drop(shell.stdin.take());
        shell.kill().and_then(|()| shell.wait()).expect("it ends");
        // Eleven times the shell's own; without one of the children it were six. A busy machine makes equal work unequal.
        let ratio = whole.as_secs_f64() / shell_alone.as_secs_f64();
        assert!((7.5..16.0).contains(&ratio), "{whole:?} against {shell_alone:?}");
    }
}
