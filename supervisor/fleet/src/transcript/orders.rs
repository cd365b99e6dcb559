//! What the fleet orders, in words: the right-hand side of a transcript.

use crate::{Action, BootFailure, Exit, ExitReason, FailurePhase, Notice, Outcome, RecycleCause};

pub(super) fn describe(action: &Action) -> String {
    match action {
        Action::Spawn { worker, pool: _, slot, generation, origin: _ } => {
            format!("spawn {} in slot {}, generation {}", worker.0, slot.0, generation.0)
        }
        Action::Drain { worker, grace_ms } => format!("drain {} within {grace_ms}", worker.0),
        Action::DumpStack { worker } => format!("dump stack of {}", worker.0),
        Action::Abort { worker } => format!("abort {}", worker.0),
        Action::Kill { worker } => format!("kill {}", worker.0),
        Action::Retire { worker, reason, exit } => {
            format!("retire {}: {}, {}", worker.0, describe_reason(*reason), describe_exit(*exit))
        }
        Action::Notice(notice) => format!("notice: {}", describe_notice(notice)),
        Action::Finish { outcome: Outcome::Stopped } => "finish: stopped".into(),
        Action::Finish { outcome: Outcome::FirstBootFailed { worker, cause } } => {
            format!("finish: first boot failed, {} {}", worker.0, describe_cause(*cause))
        }
    }
}

fn describe_notice(notice: &Notice) -> String {
    match notice {
        Notice::Restarted { slot, reason, worker } => {
            format!("restarted slot {} with {} after {}", slot.0, worker.0, describe_reason(*reason))
        }
        Notice::BackedOff { slot, delay_ms, deaths } => {
            format!("slot {} waits {delay_ms} after {deaths} deaths", slot.0)
        }
        Notice::AllReady => "all ready".into(),
        Notice::Unresponsive { worker, silent_ms } => format!("{} silent for {silent_ms}", worker.0),
        Notice::Recycling { worker, cause } => format!("{} is due: {}", worker.0, describe_recycling(*cause)),
        Notice::OverMemory { worker, bytes, most_bytes } => {
            format!("{} holds {bytes}, more than {most_bytes}", worker.0)
        }
        Notice::BootTimedOut { worker, timeout_ms } => format!("{} not ready within {timeout_ms}", worker.0),
        Notice::DrainTimedOut { worker } => format!("{} overran its grace", worker.0),
        Notice::ReloadStarted { generation } => format!("reload to generation {} started", generation.0),
        Notice::ReloadDone { generation, took_ms } => {
            format!("reload to generation {} done in {took_ms}", generation.0)
        }
        Notice::ReloadFailed { generation, worker, cause } => {
            format!("reload to generation {} failed, {} {}", generation.0, worker.0, describe_cause(*cause))
        }
        Notice::ReloadSuperseded { generation } => {
            format!("reload to generation {} superseded", generation.0)
        }
        Notice::Scaled { from, to } => format!("scaled from {from} to {to}"),
        Notice::Leaving { delay_ms } => format!("stops in {delay_ms}"),
        Notice::Stopping { workers } => format!("stopping {workers} workers"),
        Notice::Unkillable { worker } => format!("{} cannot be killed", worker.0),
        Notice::Stalled { stalled_ms } => format!("stalled for {stalled_ms}"),
        Notice::InvariantBroken { what } => format!("INVARIANT BROKEN: {what}"),
    }
}

fn describe_reason(reason: ExitReason) -> &'static str {
    match reason {
        ExitReason::Reload => "reload",
        ExitReason::Scale => "scale",
        ExitReason::Stop => "stop",
        ExitReason::Requested => "requested",
        ExitReason::MaxRequests => "max requests",
        ExitReason::MaxLifetime => "max lifetime",
        ExitReason::MaxMemory => "max memory",
        ExitReason::MaxMemoryHard => "max memory hard",
        ExitReason::Heartbeat => "heartbeat",
        ExitReason::Crash => "crash",
        ExitReason::Signal => "signal",
        ExitReason::OutOfMemory => "out of memory",
        ExitReason::BootFailed => "boot failed",
        ExitReason::ChannelBroken => "channel broken",
    }
}

fn describe_recycling(cause: RecycleCause) -> String {
    match cause {
        RecycleCause::Requested => "it asked for it".into(),
        RecycleCause::Requests(requests) => format!("{requests} requests"),
        RecycleCause::Lifetime(served_ms) => format!("served {served_ms}"),
        RecycleCause::Memory(bytes) => format!("holds {bytes}"),
    }
}

fn describe_exit(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("code {code}"),
        Exit::Signal(signal) => format!("signal {signal}"),
        Exit::OutOfMemory => "out of memory".into(),
    }
}

fn describe_cause(cause: BootFailure) -> String {
    match cause {
        BootFailure::Failed(FailurePhase::Load) => "failed to load".into(),
        BootFailure::Failed(FailurePhase::Startup) => "failed to start up".into(),
        BootFailure::Failed(FailurePhase::Serve) => "failed to serve".into(),
        BootFailure::Exited(exit) => format!("exited with {}", describe_exit(exit)),
        BootFailure::TimedOut => "timed out".into(),
        BootFailure::NotSpawned => "could not be spawned".into(),
        BootFailure::ChannelBroken => "broke its channel".into(),
        BootFailure::OverMemory => "took too much memory".into(),
    }
}
