//! Stack dumps that were asked for and have not come yet. A worker writes its stacks whenever its signal is delivered; nothing says
//! when it is done, so the evidence is looked at every few milliseconds until it stops growing. Never waits itself.

use std::collections::BTreeMap;

use supervisor_fleet::{Moment, WorkerId};

use crate::{proc_files, workers::LiveWorker};

/// Between two looks.
const LOOK_EVERY_MS: u64 = 15;
/// Shorter than the time from the stack dump to SIGABRT.
const PATIENCE_MS: u64 = 800;

/// Dumps that are awaited.
#[derive(Debug, Default)]
pub struct StackDumps {
    awaited: BTreeMap<WorkerId, Awaited>,
}

#[derive(Debug)]
struct Awaited {
    bytes_seen: usize,
    look_at: Moment,
    give_up_at: Moment,
}

impl StackDumps {
    /// Asks a worker for its stacks, or says why it has none to show.
    pub fn ask(&mut self, id: WorkerId, worker: &mut LiveWorker, now: Moment) {
        let name = worker.name();
        if proc_files::stat(worker.pid()).is_some_and(|stat| matches!(stat.state, 'T' | 't')) {
            worker.stack_told = true;
            tracing::error!(
                event = "worker.stack",
                "{name} is stopped (SIGSTOP or a debugger), so there is no stack to show"
            );
            return;
        }
        let Some(signal) = worker.stack_signal else {
            tracing::error!(
                event = "worker.stack",
                "{name} cannot show its stack: its runtime has no signal for that"
            );
            return;
        };
        let bytes_seen = worker.evidence.untold_bytes();
        if worker.signal(signal).is_ok() {
            let look_at = Moment(now.0 + LOOK_EVERY_MS);
            self.awaited.insert(id, Awaited { bytes_seen, look_at, give_up_at: Moment(now.0 + PATIENCE_MS) });
        }
    }

    /// When to look next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.awaited.values().map(|dump| dump.look_at).min()
    }

    /// Workers whose dump is due for a look.
    #[must_use]
    pub fn due(&self, now: Moment) -> Vec<WorkerId> {
        self.awaited.iter().filter(|(_, dump)| dump.look_at <= now).map(|(&id, _)| id).collect()
    }

    /// Looks once; tells what came when it is whole or when patience ends.
    pub fn look(&mut self, id: WorkerId, worker: &mut LiveWorker, now: Moment) {
        let Some(dump) = self.awaited.get_mut(&id) else { return };
        let bytes = worker.evidence.untold_bytes();
        let whole = bytes > 0 && bytes == dump.bytes_seen;
        if whole || dump.give_up_at <= now {
            self.awaited.remove(&id);
            tell(worker);
        } else {
            dump.bytes_seen = bytes;
            dump.look_at = Moment(now.0 + LOOK_EVERY_MS);
        }
    }

    /// The worker is about to be aborted or is gone: whatever came is told now.
    pub fn settle(&mut self, id: WorkerId, worker: &mut LiveWorker) {
        if self.awaited.remove(&id).is_some() {
            tell(worker);
        }
    }
}

fn tell(worker: &mut LiveWorker) {
    let name = worker.name();
    let stack = worker.evidence.news();
    if stack.is_empty() {
        tracing::error!(event = "worker.stack", "{name} wrote no stack when asked to");
    } else {
        worker.stack_told = true;
        tracing::error!(
            event = "worker.stack",
            pid = worker.pid().as_raw(),
            slot = worker.slot.0,
            detail = stack,
            "{name}: its stack"
        );
    }
}
