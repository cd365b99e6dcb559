//! What happens, in words and read from words: the left-hand side of a transcript. Whatever is written here is read back the same.

use std::{num::ParseIntError, str::FromStr};

use crate::{EventKind, Exit, FailurePhase, PoolSettings, RecyclingSettings, Urgency, WorkerId};

/// Reads an event. `settings` are those of the last reload, or of the beginning: a reload names what it changes.
pub(super) fn read(words: &[&str], settings: &mut PoolSettings) -> Result<EventKind, String> {
    let worker = |id: &str| number(id).map(WorkerId);
    Ok(match words {
        ["start"] => EventKind::Start,
        ["tick"] => EventKind::Tick,
        ["spawn_failed", id] => EventKind::SpawnFailed { worker: worker(id)? },
        ["hello", id] => EventKind::Hello { worker: worker(id)? },
        ["loaded", id] => EventKind::Loaded { worker: worker(id)? },
        ["ready", id] => EventKind::Ready { worker: worker(id)? },
        ["heartbeat", id] => EventKind::Heartbeat { worker: worker(id)?, requests: 0 },
        ["heartbeat", id, requests] => {
            EventKind::Heartbeat { worker: worker(id)?, requests: number(requests)? }
        }
        ["memory", id, bytes] => EventKind::MemoryMeasured { worker: worker(id)?, bytes: number(bytes)? },
        ["draining", id] => EventKind::Draining { worker: worker(id)? },
        ["failed", id, phase] => EventKind::Failed { worker: worker(id)?, phase: self::phase(phase)? },
        ["replace_me", id] => EventKind::ReplaceMe { worker: worker(id)? },
        ["channel_broken", id] => EventKind::ChannelBroken { worker: worker(id)? },
        ["exited", id, how @ ..] => EventKind::Exited { worker: worker(id)?, exit: exit(how)? },
        ["reload", changes @ ..] => {
            for word in changes {
                change(settings, word)?;
            }
            EventKind::Reload { settings: settings.clone() }
        }
        ["scale", by] => EventKind::Scale { by: number(by)? },
        ["stop", "gracefully"] => EventKind::Stop { urgency: Urgency::Graceful },
        ["stop", "quickly"] => EventKind::Stop { urgency: Urgency::Quick },
        ["stop", "now"] => EventKind::Stop { urgency: Urgency::Now },
        _ => return Err("no event".into()),
    })
}

/// Writes an event.
pub(super) fn describe(kind: &EventKind) -> String {
    match kind {
        EventKind::Start => "start".into(),
        EventKind::Tick => "tick".into(),
        EventKind::SpawnFailed { worker } => format!("spawn_failed {}", worker.0),
        EventKind::Hello { worker } => format!("hello {}", worker.0),
        EventKind::Loaded { worker } => format!("loaded {}", worker.0),
        EventKind::Ready { worker } => format!("ready {}", worker.0),
        EventKind::Heartbeat { worker, requests } => format!("heartbeat {} {requests}", worker.0),
        EventKind::MemoryMeasured { worker, bytes } => format!("memory {} {bytes}", worker.0),
        EventKind::Draining { worker } => format!("draining {}", worker.0),
        EventKind::Failed { worker, phase } => {
            let phase = match phase {
                FailurePhase::Load => "load",
                FailurePhase::Startup => "startup",
                FailurePhase::Serve => "serve",
            };
            format!("failed {} {phase}", worker.0)
        }
        EventKind::ReplaceMe { worker } => format!("replace_me {}", worker.0),
        EventKind::ChannelBroken { worker } => format!("channel_broken {}", worker.0),
        EventKind::Exited { worker, exit } => {
            let how = match exit {
                Exit::Code(code) => format!("code {code}"),
                Exit::Signal(signal) => format!("signal {signal}"),
                Exit::OutOfMemory => "out_of_memory".into(),
            };
            format!("exited {} {how}", worker.0)
        }
        EventKind::Reload { settings } => format!("reload {}", describe_settings(settings)),
        EventKind::Scale { by } => format!("scale {by}"),
        EventKind::Stop { urgency: Urgency::Graceful } => "stop gracefully".into(),
        EventKind::Stop { urgency: Urgency::Quick } => "stop quickly".into(),
        EventKind::Stop { urgency: Urgency::Now } => "stop now".into(),
    }
}

/// Every setting by name.
pub(super) fn describe_settings(settings: &PoolSettings) -> String {
    // Named one by one: a new setting that is not written would make a recording lie.
    let PoolSettings {
        workers,
        max_surge,
        boot_timeout_ms,
        heartbeat_timeout_ms,
        graceful_timeout_ms,
        quick_timeout_ms,
        abort_grace_ms,
        shutdown_delay_ms,
        recycling,
    } = settings;
    let RecyclingSettings {
        max_requests,
        max_requests_jitter,
        max_lifetime_ms,
        max_lifetime_jitter_ms,
        max_memory_bytes,
        max_memory_hard_bytes,
    } = recycling;
    let (workers, max_surge) = (u64::from(*workers), u64::from(*max_surge));
    let always = [
        ("workers", workers),
        ("surge", max_surge),
        ("boot", *boot_timeout_ms),
        ("heartbeat", *heartbeat_timeout_ms),
        ("graceful", *graceful_timeout_ms),
        ("quick", *quick_timeout_ms),
        ("abort", *abort_grace_ms),
        ("delay", *shutdown_delay_ms),
        ("requests_jitter", *max_requests_jitter),
        ("lifetime_jitter", *max_lifetime_jitter_ms),
    ];
    let bounds = [
        ("requests", *max_requests),
        ("lifetime", *max_lifetime_ms),
        ("memory", *max_memory_bytes),
        ("memory_hard", *max_memory_hard_bytes),
    ];
    let always = always.map(|(name, value)| format!("{name}={value}"));
    let bounds = bounds
        .map(|(name, bound)| bound.map_or_else(|| format!("{name}=none"), |most| format!("{name}={most}")));
    always.into_iter().chain(bounds).collect::<Vec<_>>().join(" ")
}

/// Changes the setting that a word such as `workers=2` names.
pub(super) fn change(settings: &mut PoolSettings, word: &str) -> Result<(), String> {
    let (name, text) = word.split_once('=').ok_or("a setting is name=value")?;
    let value = || milliseconds(text);
    let count = || number::<u32>(text);
    let bound = || if text == "none" { Ok(None) } else { milliseconds(text).map(Some) };
    let recycling = &mut settings.recycling;
    match name {
        "workers" => settings.workers = count()?,
        "surge" => settings.max_surge = count()?,
        "boot" => settings.boot_timeout_ms = value()?,
        "heartbeat" => settings.heartbeat_timeout_ms = value()?,
        "graceful" => settings.graceful_timeout_ms = value()?,
        "quick" => settings.quick_timeout_ms = value()?,
        "abort" => settings.abort_grace_ms = value()?,
        "delay" => settings.shutdown_delay_ms = value()?,
        "requests" => recycling.max_requests = bound()?,
        "requests_jitter" => recycling.max_requests_jitter = value()?,
        "lifetime" => recycling.max_lifetime_ms = bound()?,
        "lifetime_jitter" => recycling.max_lifetime_jitter_ms = value()?,
        "memory" => recycling.max_memory_bytes = bound()?,
        "memory_hard" => recycling.max_memory_hard_bytes = bound()?,
        _ => return Err(format!("no setting: {name}")),
    }
    Ok(())
}

pub(super) fn number<N: FromStr<Err = ParseIntError>>(text: &str) -> Result<N, String> {
    text.parse().map_err(|error| format!("{text:?}: {error}"))
}

/// A number of milliseconds, or of seconds with an `s` behind it.
pub(super) fn milliseconds(text: &str) -> Result<u64, String> {
    let (digits, factor) = text.strip_suffix('s').map_or((text, 1), |digits| (digits, 1_000));
    number::<u64>(digits)?.checked_mul(factor).ok_or_else(|| format!("{text:?} is out of range"))
}

fn phase(text: &str) -> Result<FailurePhase, String> {
    match text {
        "load" => Ok(FailurePhase::Load),
        "startup" => Ok(FailurePhase::Startup),
        "serve" => Ok(FailurePhase::Serve),
        _ => Err("a phase is load, startup or serve".into()),
    }
}

fn exit(words: &[&str]) -> Result<Exit, String> {
    match words {
        ["code", code] => Ok(Exit::Code(number(code)?)),
        ["signal", signal] => Ok(Exit::Signal(number(signal)?)),
        ["out_of_memory"] => Ok(Exit::OutOfMemory),
        _ => Err("an exit is: code N, signal N or out_of_memory".into()),
    }
}
