//! How much memory workers hold, for a fleet that replaces those that hold too much. The kernel walks the page tables of a process
//! for it, which takes milliseconds for a large one: so a thread of its own looks, and the deciding thread never waits for it.
//! Decides nothing.

use std::{
    fs, io,
    sync::mpsc::{SyncSender, TrySendError, sync_channel},
    time::Duration,
};

use nix::{
    time::{ClockId, clock_gettime},
    unistd::Pid,
};
use supervisor_fleet::{Moment, WorkerId};
use tokio::sync::mpsc;

/// Looks are taken this often.
const INTERVAL_MS: u64 = 1_000;
/// Looking takes at most one such part of a core: many large workers are looked at less often.
const SHARE_OF_A_CORE: u32 = 50;

/// What a look brought.
#[derive(Debug)]
pub struct Look {
    /// Each worker that could be looked at, and the bytes that it holds.
    pub held: Vec<(WorkerId, u64)>,
    /// What it cost.
    worked: Duration,
}

/// The thread, seen from the deciding one.
#[derive(Debug)]
pub struct MemoryWatch {
    /// Room for one round: the next is not asked for before this one is answered.
    ask: SyncSender<Vec<(WorkerId, Pid)>>,
    looks: mpsc::UnboundedReceiver<Look>,
    due: Option<Moment>,
}

impl MemoryWatch {
    /// Starts the thread; it ends with this value.
    ///
    /// # Errors
    /// The system's, when it has no thread left.
    pub fn start() -> io::Result<Self> {
        /// It reads small files, and keeps a path.
        const STACK_BYTES: usize = 64 * 1024;
        let (ask, asked) = sync_channel::<Vec<(WorkerId, Pid)>>(1);
        let (tell, looks) = mpsc::unbounded_channel();
        std::thread::Builder::new().name("memory-watch".into()).stack_size(STACK_BYTES).spawn(move || {
            for workers in asked {
                let (held, worked) = measured(|| {
                    workers.into_iter().filter_map(|(id, pid)| Some((id, held_bytes(pid)?))).collect()
                });
                if tell.send(Look { held, worked }).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { ask, looks, due: Some(Moment(0)) })
    }

    /// When [`Self::look_at`] is due; none while a look is under way.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.due
    }

    /// Looks at these workers, if it is time to.
    pub fn look_at(&mut self, now: Moment, workers: impl Iterator<Item = (WorkerId, Pid)>) {
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        self.due = match self.ask.try_send(workers.collect()) {
            Ok(()) => None,
            // Cannot happen while answers are awaited; and without the thread nobody looks.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Some(Moment(now.0 + INTERVAL_MS)),
        };
    }

    /// Sleeps until a look was taken.
    pub async fn next(&mut self) -> Look {
        match self.looks.recv().await {
            Some(look) => look,
            None => std::future::pending().await,
        }
    }

    /// The look was received: says when the next one is due.
    pub fn note(&mut self, look: &Look, now: Moment) {
        let rest_ms = u64::try_from((look.worked * SHARE_OF_A_CORE).as_millis()).unwrap_or(u64::MAX);
        self.due = Some(Moment(now.0.saturating_add(rest_ms.max(INTERVAL_MS))));
    }
}

/// What the work brings, and what of a core it took. Waiting costs none: where memory runs out the kernel lets a look wait for seconds,
/// and that is no reason to look away for minutes.
fn measured<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let spent = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from);
    let before = spent();
    let brought = work();
    (brought, spent().saturating_sub(before))
}

/// What would come free if the process ended, and its share of what it has in common with others: the kernel's "proportional
/// set size". Where it cannot be had (no `/proc`, another user's process), what is resident and not from files.
fn held_bytes(pid: Pid) -> Option<u64> {
    let proportional = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
        .ok()
        .and_then(|text| kibibytes(&text, "Pss:"));
    proportional.or_else(|| kibibytes(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "RssAnon:"))
}

/// The number of a line such as `Pss:   123 kB`, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::{Pid, held_bytes, kibibytes, measured};

    #[test]
    fn a_look_that_has_to_wait_does_not_put_off_the_next_one() {
        let (_tell, never) = mpsc::channel::<()>();
        let (_, worked) = measured(|| never.recv_timeout(Duration::from_millis(400)));
        assert!(worked < Duration::from_millis(200), "{worked:?} were worked in 400 ms of waiting");
    }

    #[test]
    fn one_line_of_many_is_read() {
        let text =
            "5581-7ffe ---p 00000000 00:00 0 [rollup]\nRss:   9 kB\nPss:      1234 kB\nPss_Dirty: 5 kB\n";
        assert_eq!(kibibytes(text, "Pss:"), Some(1234 * 1024));
        assert_eq!(kibibytes(text, "RssAnon:"), None);
        assert_eq!(kibibytes("Pss: many kB\n", "Pss:"), None);
    }

    #[test]
    fn what_this_process_takes_shows() {
        let before = held_bytes(Pid::this()).expect("/proc is there");
        let taken = vec![1_u8; 64 * 1024 * 1024];
        let after = held_bytes(Pid::this()).expect("/proc is there");
        assert!(after > before + 60 * 1024 * 1024, "{before} and {after} with {} more", taken.len());
    }
}
