//! The story of a run, as the log tells it: one line for each notice of the fleet and each worker that is gone. Words only.

use nix::sys::signal::Signal;
use supervisor_fleet::{Exit, ExitReason, Moment, Notice, RecycleCause, WorkerId};

use crate::{
    certificates::{CertificateFacts, Look},
    obituary::{self, duration, failure, is_wanted, label, size},
    workers::{LiveWorker, Workers},
};

/// Tells that a worker is gone, why, and what it left behind.
pub fn tell_exit(worker: &mut LiveWorker, reason: ExitReason, exit: Exit, now: Moment) {
    let lived_ms = now.0.saturating_sub(worker.spawned_at.0);
    let sentence = obituary::sentence(&worker.name(), reason, exit, lived_ms);
    let (slot, pid, generation, reason_label) =
        (worker.slot.0, worker.pid().as_raw(), worker.generation.0, label(reason));
    // That a drain ended in a kill has a line of its own.
    let ordinary = [Exit::Code(0), Exit::Signal(Signal::SIGKILL as i32)].contains(&exit);
    if is_wanted(reason) && ordinary {
        tracing::info!(event = "worker.exit", slot, pid, generation, reason = reason_label, "{sentence}");
        return;
    }
    let detail = last_words(worker);
    if is_wanted(reason) {
        tracing::warn!(
            event = "worker.exit",
            slot,
            pid,
            generation,
            reason = reason_label,
            detail,
            "{sentence}"
        );
    } else {
        tracing::error!(
            event = "worker.exit",
            slot,
            pid,
            generation,
            reason = reason_label,
            detail,
            "{sentence}"
        );
    }
}

/// What it said, what it was doing, and what it wrote into its evidence.
fn last_words(worker: &mut LiveWorker) -> String {
    let said = worker.failure.clone();
    // A stack that is in the log already would come again from SIGABRT.
    let wrote = (!worker.stack_told).then(|| worker.evidence.news()).filter(|text| !text.is_empty());
    // Its one sentence often is the first line of what it wrote.
    let said = said.filter(|said| !wrote.as_ref().is_some_and(|wrote| wrote.contains(said.as_str())));
    let doing = obituary::in_flight(&worker.evidence.requests_in_flight());
    [said, doing, wrote].into_iter().flatten().collect::<Vec<_>>().join("\n")
}

/// Tells what a look at the files of certificates brought; `facts` are of those in service.
pub fn tell_certificates(look: &Look, facts: &[CertificateFacts]) {
    match look {
        Look::Unchanged => {}
        Look::Renewed => {
            for facts in facts {
                let (names, until) = (facts.names.join(", "), facts.not_after.as_str());
                tracing::info!(
                    event = "certificates.renewed",
                    names,
                    until,
                    "in service for new connections: certificate {} for {names}, valid until {until}",
                    facts.file.display()
                );
            }
        }
        Look::Refused(error) => {
            let (why, detail) = (&error.message, error.to_string());
            tracing::error!(
                event = "certificates.refused",
                detail,
                "changed certificates are refused, the old ones stay in service: {why}"
            );
        }
    }
}

/// Tells what the fleet noticed.
pub fn tell_notice(notice: &Notice, workers: &mut Workers, ready: u32, now: Moment) {
    match *notice {
        Notice::Restarted { slot, reason, worker: _ } => {
            tracing::info!(
                event = "worker.restart",
                slot = slot.0,
                reason = label(reason),
                "worker {} is started anew ({})",
                slot.0,
                label(reason)
            );
        }
        Notice::BackedOff { slot, delay_ms, deaths } => {
            let (slot, delay) = (slot.0, duration(delay_ms));
            let message =
                format!("worker {slot}: the next start waits {delay}, because of early deaths: {deaths}");
            tracing::warn!(event = "worker.backoff", slot, delay_ms, deaths, "{message}");
        }
        Notice::AllReady => {
            let boot_ms = now.0;
            tracing::info!(
                event = "ready",
                workers = ready,
                boot_ms,
                "ready: {} in {boot_ms} ms",
                counted(ready)
            );
        }
        Notice::Recycling { worker, cause } => tell_recycling(worker, cause, workers),
        Notice::Unresponsive { .. }
        | Notice::OverMemory { .. }
        | Notice::BootTimedOut { .. }
        | Notice::DrainTimedOut { .. }
        | Notice::Unkillable { .. } => tell_trouble(notice, workers),
        Notice::ReloadStarted { .. }
        | Notice::ReloadDone { .. }
        | Notice::ReloadFailed { .. }
        | Notice::ReloadSuperseded { .. } => tell_reload(notice, workers),
        Notice::Scaled { from, to } => {
            tracing::info!(event = "scaled", from, to, "{} wanted (before: {from})", counted(to));
        }
        Notice::Leaving { delay_ms } => {
            let delay = duration(delay_ms);
            tracing::info!(
                event = "leaving",
                delay_ms,
                "stopping in {delay} (--shutdown-delay): /readyz says 503, all else goes on; the signal once more begins at once"
            );
        }
        Notice::Stopping { workers } => {
            let left = counted(workers);
            tracing::info!(
                event = "stopping",
                workers,
                "stopping: {left} to go; the signal once more stops at once"
            );
        }
        Notice::Stalled { stalled_ms } => {
            let stalled = duration(stalled_ms);
            tracing::warn!(
                event = "stalled",
                stalled_ms,
                "the supervisor stood still for {stalled}: deadlines begin anew"
            );
        }
        Notice::InvariantBroken { what } => {
            tracing::error!(event = "bug", "a bug of supervise, please report it: {what}");
        }
    }
}

fn counted(workers: u32) -> String {
    format!("{workers} worker{}", if workers == 1 { "" } else { "s" })
}

/// Notices of a worker that does not do what it should.
fn tell_trouble(notice: &Notice, workers: &mut Workers) {
    match *notice {
        Notice::Unresponsive { worker, silent_ms } => {
            let (name, detail) = name_and_requests(workers, worker);
            let silent = duration(silent_ms);
            tracing::error!(
                event = "worker.unresponsive",
                detail,
                "{name} has not answered for {silent}: it is replaced"
            );
        }
        Notice::OverMemory { worker, bytes, most_bytes } => {
            let (name, detail) = name_and_requests(workers, worker);
            let (held, most) = (size(bytes), size(most_bytes));
            tracing::error!(
                event = "worker.over_memory",
                bytes,
                detail,
                "{name} holds {held}, more than {most} (--max-memory-hard): it is ended at once"
            );
        }
        Notice::BootTimedOut { worker, timeout_ms } => {
            let limit = duration(timeout_ms);
            let Some(live) = workers.get_mut(worker) else { return };
            live.failure.get_or_insert(format!("the worker was not ready within {limit} (--boot-timeout)"));
            tracing::error!(event = "worker.boot_timeout", "{} was not ready within {limit}", live.name());
        }
        Notice::DrainTimedOut { worker } => {
            let (name, detail) = name_and_requests(workers, worker);
            tracing::warn!(
                event = "worker.drain_timeout",
                detail,
                "{name} did not finish in its time to leave: it is killed"
            );
        }
        Notice::Unkillable { worker } => {
            let (name, _) = name_and_requests(workers, worker);
            tracing::error!(
                event = "worker.unkillable",
                "{name} does not die of SIGKILL: it hangs in the kernel"
            );
        }
        Notice::Restarted { .. }
        | Notice::Recycling { .. }
        | Notice::BackedOff { .. }
        | Notice::AllReady
        | Notice::ReloadStarted { .. }
        | Notice::ReloadDone { .. }
        | Notice::ReloadFailed { .. }
        | Notice::ReloadSuperseded { .. }
        | Notice::Scaled { .. }
        | Notice::Leaving { .. }
        | Notice::Stopping { .. }
        | Notice::Stalled { .. }
        | Notice::InvariantBroken { .. } => {}
    }
}

/// A worker serves well and is due. That one asked for it is told with its own words.
fn tell_recycling(worker: WorkerId, cause: RecycleCause, workers: &mut Workers) {
    let Some(live) = workers.get_mut(worker) else { return };
    let (name, reason) = (live.name(), label(cause.reason()));
    let because = match cause {
        RecycleCause::Requested => return,
        RecycleCause::Requests(requests) => format!("it has answered {requests} requests (--max-requests)"),
        RecycleCause::Lifetime(served_ms) => {
            format!("it has served for {} (--max-lifetime)", duration(served_ms))
        }
        RecycleCause::Memory(bytes) => format!("it holds {} (--max-memory)", size(bytes)),
    };
    tracing::info!(
        event = "worker.recycle",
        slot = live.slot.0,
        reason,
        "{name} is to be replaced: {because}"
    );
}

fn tell_reload(notice: &Notice, workers: &mut Workers) {
    match *notice {
        Notice::ReloadStarted { generation } => {
            tracing::info!(
                event = "reload.start",
                generation = generation.0,
                "reload: starting generation {}",
                generation.0
            );
        }
        Notice::ReloadDone { generation, took_ms } => tracing::info!(
            event = "reload.ok",
            generation = generation.0,
            took_ms,
            "reload: generation {} serves after {took_ms} ms",
            generation.0
        ),
        Notice::ReloadFailed { generation, worker, cause } => {
            let said = workers
                .get_mut(worker)
                .and_then(|live| live.failure.clone())
                .unwrap_or_else(|| failure(cause));
            tracing::error!(
                event = "reload.failed",
                generation = generation.0,
                "reload failed, the old workers go on serving: {said}"
            );
        }
        Notice::ReloadSuperseded { generation } => tracing::info!(
            event = "reload.superseded",
            generation = generation.0,
            "reload: generation {} is given up for a newer one",
            generation.0
        ),
        Notice::Restarted { .. }
        | Notice::BackedOff { .. }
        | Notice::AllReady
        | Notice::Recycling { .. }
        | Notice::OverMemory { .. }
        | Notice::Unresponsive { .. }
        | Notice::BootTimedOut { .. }
        | Notice::DrainTimedOut { .. }
        | Notice::Unkillable { .. }
        | Notice::Scaled { .. }
        | Notice::Leaving { .. }
        | Notice::Stopping { .. }
        | Notice::Stalled { .. }
        | Notice::InvariantBroken { .. } => {}
    }
}

fn name_and_requests(workers: &mut Workers, worker: WorkerId) -> (String, String) {
    match workers.get_mut(worker) {
        Some(live) => {
            let requests = obituary::in_flight(&live.evidence.requests_in_flight());
            (live.name(), requests.unwrap_or_else(|| "no request in flight".to_owned()))
        }
        None => ("a worker".to_owned(), String::new()),
    }
}
