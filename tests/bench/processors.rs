//! Which processor runs what, and how much other work the machine did meanwhile.

use std::{fs, io, time::Duration};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::{load::Waiting, process_tree::TICK};

/// The processors that this bench may use: one for the server's whole tree, one for the load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Processors {
    all: CpuSet,
    server: CpuSet,
    load: CpuSet,
    /// For the report.
    pub(crate) layout: Layout,
}

/// How the two sides are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Server and load have a processor each.
    Apart { server: usize, load: usize },
    /// The machine gives only one: figures are good for a smoke test at most.
    Shared { both: usize },
}

impl Processors {
    pub(crate) fn choose() -> io::Result<Self> {
        let all = sched_getaffinity(Pid::from_raw(0))?;
        let allowed: Vec<usize> = (0..CpuSet::count()).filter(|cpu| all.is_set(*cpu) == Ok(true)).collect();
        let (server, load, layout) = match *allowed.as_slice() {
            [server, load, ..] => (server, load, Layout::Apart { server, load }),
            [both] => (both, both, Layout::Shared { both }),
            [] => return Err(io::Error::other("no processor is allowed")),
        };
        Ok(Processors { all, server: one(server)?, load: one(load)?, layout })
    }

    /// From now on this thread, and what it starts, runs on the load's processor.
    pub(crate) fn move_to_load(&self) -> io::Result<()> {
        Ok(sched_setaffinity(Pid::from_raw(0), &self.load)?)
    }

    /// Runs `start` on the server's processor: the processes that it starts stay there, with all their descendants, because
    /// affinity is inherited.
    pub(crate) fn on_server<T>(&self, start: impl FnOnce() -> T) -> io::Result<T> {
        self.on(&self.server, start)
    }

    /// Runs `start` where the processes that it starts may use every processor.
    pub(crate) fn anywhere<T>(&self, start: impl FnOnce() -> T) -> io::Result<T> {
        self.on(&self.all, start)
    }

    /// A client that never sleeps would take a shared processor from the server.
    pub(crate) fn waiting(&self) -> Waiting {
        match self.layout {
            Layout::Apart { .. } => Waiting::Awake,
            Layout::Shared { .. } => Waiting::Asleep,
        }
    }

    fn on<T>(&self, processors: &CpuSet, start: impl FnOnce() -> T) -> io::Result<T> {
        let before = sched_getaffinity(Pid::from_raw(0))?;
        sched_setaffinity(Pid::from_raw(0), processors)?;
        let result = start();
        sched_setaffinity(Pid::from_raw(0), &before)?;
        Ok(result)
    }
}

fn one(cpu: usize) -> io::Result<CpuSet> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(set)
}

/// What all processors together have done since boot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MachineTime {
    /// Any work, interrupts included.
    pub(crate) busy: Duration,
    /// Time that the host of this virtual machine gave to others.
    pub(crate) stolen: Duration,
}

impl MachineTime {
    pub(crate) fn now() -> io::Result<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().unwrap_or_default();
        let ticks: Vec<u32> =
            line.split_ascii_whitespace().skip(1).filter_map(|ticks| ticks.parse().ok()).collect();
        let [user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = *ticks.as_slice() else {
            return Err(io::Error::other("/proc/stat has another first line than proc_stat(5) says"));
        };
        Ok(MachineTime { busy: TICK * (user + nice + system + irq + softirq), stolen: TICK * steal })
    }
}
