//! The language of the transcripts: reads what happens, plays it to a fleet, writes what the fleet orders.
//!
//!     settings workers=2 boot=10s           (first line that is no comment; what is not named has a default)
//!     0       start                          (milliseconds from the beginning, then the event)
//!     +400    ready 1                        (or from the line before)
//!     tick                                   (goes to the next deadline)
//!     ticks 60s                              (goes through all deadlines of the next 60 s)

use std::{num::ParseIntError, str::FromStr};

use supervisor_fleet::{
    Action, BootFailure, Event, EventKind, Exit, ExitReason, FailurePhase, Fleet, Moment, Notice, Outcome,
    PoolSettings, RecycleCause, RecyclingSettings, Urgency, WorkerId,
};

pub(crate) struct Transcript {
    fleet: Fleet,
    settings: PoolSettings,
    now: u64,
    text: String,
}

/// Seed of the jitter in all transcripts.
const SEED: u64 = 2;

impl Transcript {
    /// Returns the transcript as the fleet plays it: inputs kept, orders made anew.
    pub(crate) fn play(written: &str) -> Result<String, String> {
        let mut settings = PoolSettings {
            workers: 2,
            max_surge: 1,
            boot_timeout_ms: 10_000,
            heartbeat_timeout_ms: 5_000,
            graceful_timeout_ms: 30_000,
            quick_timeout_ms: 2_000,
            abort_grace_ms: 500,
            shutdown_delay_ms: 0,
            recycling: RecyclingSettings::default(),
        };
        let mut lines = written.lines().filter(|line| !line.contains('→')).peekable();
        let mut text = String::new();
        while let Some(line) = lines.next_if(|line| line.is_empty() || line.starts_with('#')) {
            text = text + line + "\n";
        }
        if let Some(line) = lines.next_if(|line| line.starts_with("settings")) {
            change(&mut settings, &line["settings".len()..])?;
            text = text + line + "\n";
        }
        let fleet = Fleet::new(settings.clone(), SEED);
        let mut transcript = Self { fleet, settings, now: 0, text };
        for line in lines {
            transcript.line(line).map_err(|error| format!("{line:?}: {error}"))?;
        }
        Ok(transcript.text)
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        self.text = std::mem::take(&mut self.text) + line + "\n";
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => Ok(()),
            [comment, ..] if comment.starts_with('#') => Ok(()),
            ["tick"] => {
                let due = self.fleet.next_deadline().ok_or("there is no deadline")?;
                self.now = self.now.max(due.0);
                self.happens(EventKind::Tick)
            }
            ["ticks", duration] => self.ticks(milliseconds(duration)?),
            [time, words @ ..] => {
                self.now = match time.strip_prefix('+') {
                    Some(later) => self.now + milliseconds(later)?,
                    None => milliseconds(time)?,
                };
                let kind = self.event(words)?;
                self.happens(kind)
            }
        }
    }

    fn ticks(&mut self, duration_ms: u64) -> Result<(), String> {
        let end = self.now + duration_ms;
        while let Some(due) = self.fleet.next_deadline().filter(|due| due.0 <= end) {
            self.now = self.now.max(due.0);
            self.happens(EventKind::Tick)?;
        }
        self.now = end;
        Ok(())
    }

    fn happens(&mut self, kind: EventKind) -> Result<(), String> {
        let ticked = kind == EventKind::Tick;
        for action in self.fleet.step(Event { at: Moment(self.now), kind }) {
            self.text += &format!("{:>8}  → {}\n", self.now, describe(&action));
        }
        self.fleet.check_invariants()?;
        if ticked && self.fleet.next_deadline().is_some_and(|due| due.0 <= self.now) {
            return Err("the next deadline has passed although a tick was sent: the shell would spin".into());
        }
        Ok(())
    }

    fn event(&mut self, words: &[&str]) -> Result<EventKind, String> {
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
                change(&mut self.settings, &changes.join(" "))?;
                EventKind::Reload { settings: self.settings.clone() }
            }
            ["scale", by] => EventKind::Scale { by: number(by)? },
            ["stop", "gracefully"] => EventKind::Stop { urgency: Urgency::Graceful },
            ["stop", "quickly"] => EventKind::Stop { urgency: Urgency::Quick },
            ["stop", "now"] => EventKind::Stop { urgency: Urgency::Now },
            _ => return Err("no event".into()),
        })
    }
}

fn number<N: FromStr<Err = ParseIntError>>(text: &str) -> Result<N, String> {
    text.parse().map_err(|error| format!("{text:?}: {error}"))
}

fn milliseconds(text: &str) -> Result<u64, String> {
    let (digits, factor) = text.strip_suffix('s').map_or((text, 1), |digits| (digits, 1_000));
    number::<u64>(digits).map(|number| number * factor)
}

fn change(settings: &mut PoolSettings, words: &str) -> Result<(), String> {
    for word in words.split_whitespace() {
        let (name, value) = word.split_once('=').ok_or("a setting is name=value")?;
        let value = milliseconds(value)?;
        let number = u32::try_from(value).map_err(|error| format!("{word}: {error}"))?;
        match name {
            "workers" => settings.workers = number,
            "surge" => settings.max_surge = number,
            "boot" => settings.boot_timeout_ms = value,
            "heartbeat" => settings.heartbeat_timeout_ms = value,
            "graceful" => settings.graceful_timeout_ms = value,
            "quick" => settings.quick_timeout_ms = value,
            "abort" => settings.abort_grace_ms = value,
            "delay" => settings.shutdown_delay_ms = value,
            "requests" => settings.recycling.max_requests = Some(value),
            "requests_jitter" => settings.recycling.max_requests_jitter = value,
            "lifetime" => settings.recycling.max_lifetime_ms = Some(value),
            "lifetime_jitter" => settings.recycling.max_lifetime_jitter_ms = value,
            "memory" => settings.recycling.max_memory_bytes = Some(value),
            "memory_hard" => settings.recycling.max_memory_hard_bytes = Some(value),
            _ => return Err(format!("no setting: {name}")),
        }
    }
    Ok(())
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

fn describe(action: &Action) -> String {
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
