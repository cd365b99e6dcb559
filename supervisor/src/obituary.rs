//! What is said of a worker that is gone or will be: one sentence with the cause, and its last words. Words only; decides nothing.

use nix::time::{ClockId, clock_gettime};
use protocol::evidence::RequestInFlight;
use supervisor_fleet::{BootFailure, Exit, ExitReason, FailurePhase};

use crate::{
    error::{ExitStatus, ExpectedError},
    processes::signal_name,
};

/// Requests named in one line of the log; the rest is counted.
const REQUESTS_SHOWN: usize = 5;

/// All reasons, for counters that are there from the start.
pub const REASONS: [ExitReason; 14] = [
    ExitReason::Reload,
    ExitReason::Scale,
    ExitReason::Stop,
    ExitReason::Requested,
    ExitReason::MaxRequests,
    ExitReason::MaxLifetime,
    ExitReason::MaxMemory,
    ExitReason::MaxMemoryHard,
    ExitReason::Heartbeat,
    ExitReason::Crash,
    ExitReason::Signal,
    ExitReason::OutOfMemory,
    ExitReason::BootFailed,
    ExitReason::ChannelBroken,
];

/// The `reason` label.
#[must_use]
pub fn label(reason: ExitReason) -> &'static str {
    match reason {
        ExitReason::Reload => "reload",
        ExitReason::Scale => "scale",
        ExitReason::Stop => "stop",
        ExitReason::Requested => "requested",
        ExitReason::MaxRequests => "max_requests",
        ExitReason::MaxLifetime => "max_lifetime",
        ExitReason::MaxMemory => "max_memory",
        ExitReason::MaxMemoryHard => "max_memory_hard",
        ExitReason::Heartbeat => "heartbeat",
        ExitReason::Crash => "crash",
        ExitReason::Signal => "signal",
        ExitReason::OutOfMemory => "oom",
        ExitReason::BootFailed => "boot_failed",
        ExitReason::ChannelBroken => "channel_broken",
    }
}

/// Whether a death is what somebody wanted.
#[must_use]
pub fn is_wanted(reason: ExitReason) -> bool {
    match reason {
        ExitReason::Reload
        | ExitReason::Scale
        | ExitReason::Stop
        | ExitReason::Requested
        | ExitReason::MaxRequests
        | ExitReason::MaxLifetime
        | ExitReason::MaxMemory => true,
        ExitReason::MaxMemoryHard
        | ExitReason::Heartbeat
        | ExitReason::Crash
        | ExitReason::Signal
        | ExitReason::OutOfMemory
        | ExitReason::BootFailed
        | ExitReason::ChannelBroken => false,
    }
}

/// "was killed by SIGKILL".
#[must_use]
pub fn manner(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exited with code {code}"),
        Exit::Signal(number) => format!("was killed by {}", signal_name(number)),
        Exit::OutOfMemory => {
            "was killed by SIGKILL: out of memory (the kernel counted an oom_kill in its cgroup)".to_owned()
        }
    }
}

/// "worker 2 (pid 411) was killed by SIGKILL after 2h 3m; nobody here had sent it".
#[must_use]
pub fn sentence(name: &str, reason: ExitReason, exit: Exit, lived_ms: u64) -> String {
    let because = match reason {
        ExitReason::Reload => "; the reload replaced it",
        ExitReason::Scale => "; one worker fewer is wanted",
        ExitReason::Stop => "; the program stops",
        ExitReason::Requested => "; it had asked to leave",
        ExitReason::MaxRequests => "; it had answered as many requests as it may (--max-requests)",
        ExitReason::MaxLifetime => "; it had served as long as it may (--max-lifetime)",
        ExitReason::MaxMemory => "; it held more memory than it should (--max-memory)",
        ExitReason::MaxMemoryHard => "; it held more memory than it may (--max-memory-hard)",
        ExitReason::Heartbeat => "; its loop had not answered in time",
        ExitReason::Crash => "; nobody had asked it to",
        ExitReason::Signal => "; the signal was not sent by supervise",
        ExitReason::OutOfMemory => "",
        ExitReason::BootFailed => " before it was ready",
        ExitReason::ChannelBroken => "; it had broken the control channel",
    };
    format!("{name} {} after {}{because}", manner(exit), duration(lived_ms))
}

/// "GET /slow (12.0 s), GET /a (0.1 s) and 3 more", or nothing.
#[must_use]
pub fn in_flight(requests: &[RequestInFlight]) -> Option<String> {
    let now_ms = monotonic_ms();
    let shown: Vec<String> = requests
        .iter()
        .take(REQUESTS_SHOWN)
        .map(|request| format!("{} ({})", request.line, duration(now_ms.saturating_sub(request.started_ms))))
        .collect();
    let rest = match requests.len().saturating_sub(REQUESTS_SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!shown.is_empty()).then(|| format!("in flight: {}{rest}", shown.join(", ")))
}

/// Workers stamp their requests by the same clock.
fn monotonic_ms() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
        let (seconds, nanoseconds) = (time.tv_sec().cast_unsigned(), time.tv_nsec().cast_unsigned());
        seconds * 1_000 + nanoseconds / 1_000_000
    })
}

/// "812 bytes", "64.0 MiB", "1.5 GiB".
#[must_use]
pub fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
    let in_units = |unit: u64| bytes as f64 / unit as f64;
    match bytes {
        0..1_024 => format!("{bytes} bytes"),
        1_024..1_048_576 => format!("{:.1} KiB", in_units(1 << 10)),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", in_units(1 << 20)),
        _ => format!("{:.1} GiB", in_units(1 << 30)),
    }
}

/// "850 ms", "12.3 s", "4m 5s", "2h 3m".
#[must_use]
pub fn duration(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{seconds}.{} s", ms % 1_000 / 100),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// Why the very first worker did not come up: the error that ends the program. `said` is the worker's own sentence, `exit` how
/// it left: its code tells an application that cannot be loaded from a runtime that cannot.
#[must_use]
pub fn first_boot_error(cause: BootFailure, said: Option<&str>, exit: Option<Exit>) -> ExpectedError {
    let (id, exit) = match cause {
        BootFailure::Failed(_) | BootFailure::Exited(_) if exit == Some(Exit::Code(4)) => {
            ("app/load", ExitStatus::AppNotLoaded)
        }
        BootFailure::Failed(FailurePhase::Load) if exit != Some(Exit::Code(3)) => {
            ("app/load", ExitStatus::AppNotLoaded)
        }
        BootFailure::NotSpawned => ("worker/spawn", ExitStatus::OsError),
        BootFailure::Failed(_)
        | BootFailure::Exited(_)
        | BootFailure::TimedOut
        | BootFailure::ChannelBroken
        | BootFailure::OverMemory => ("worker/boot", ExitStatus::BootFailed),
    };
    let error = ExpectedError::new(id, exit, said.map_or_else(|| failure(cause), str::to_owned));
    match cause {
        BootFailure::TimedOut => error.help("if it needs that long, give it more: --boot-timeout 5m"),
        BootFailure::Failed(_)
        | BootFailure::Exited(_)
        | BootFailure::NotSpawned
        | BootFailure::ChannelBroken
        | BootFailure::OverMemory => error,
    }
}

/// "the worker exited with code 7 before it was ready".
#[must_use]
pub fn failure(cause: BootFailure) -> String {
    match cause {
        BootFailure::Failed(FailurePhase::Load) => "the application could not be loaded".to_owned(),
        BootFailure::Failed(FailurePhase::Startup) => "the start-up of the application failed".to_owned(),
        BootFailure::Failed(FailurePhase::Serve) => "the worker failed as soon as it served".to_owned(),
        BootFailure::Exited(exit) => format!("the worker {} before it had proved itself", manner(exit)),
        BootFailure::TimedOut => "the worker was not ready in time".to_owned(),
        BootFailure::NotSpawned => "the worker could not be started".to_owned(),
        BootFailure::ChannelBroken => "the worker broke the control channel".to_owned(),
        BootFailure::OverMemory => {
            "the worker took more memory than it may as soon as it served (--max-memory-hard)".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::evidence::RequestInFlight;
    use supervisor_fleet::{BootFailure, Exit, ExitReason, FailurePhase};

    use super::{REASONS, duration, first_boot_error, in_flight, label, monotonic_ms, sentence};
    use crate::error::ExitStatus;

    #[test]
    fn a_death_is_explained_in_one_line() {
        assert_eq!(
            sentence("worker 2 (pid 411)", ExitReason::Signal, Exit::Signal(9), 7_380_000),
            "worker 2 (pid 411) was killed by SIGKILL after 2h 3m; the signal was not sent by supervise"
        );
        assert_eq!(
            sentence("worker 1 (pid 7)", ExitReason::BootFailed, Exit::Code(3), 120),
            "worker 1 (pid 7) exited with code 3 after 120 ms before it was ready"
        );
        assert_eq!([duration(12_340), duration(245_000)], ["12.3 s", "4m 5s"]);
    }

    #[test]
    fn requests_in_flight_are_named_and_the_rest_counted() {
        let started_ms = monotonic_ms().saturating_sub(50);
        let request = |number: usize| RequestInFlight { started_ms, line: format!("GET /{number}") };
        let requests: Vec<_> = (0..7).map(request).collect();
        let text = in_flight(&requests).expect("seven");
        assert!(text.starts_with("in flight: GET /0 (") && text.ends_with("and 2 more"), "{text}");
        assert!(in_flight(&[]).is_none());
    }

    #[test]
    fn every_reason_has_its_own_label() {
        let labels: std::collections::BTreeSet<_> = REASONS.into_iter().map(label).collect();
        assert_eq!(labels.len(), REASONS.len());
    }

    #[test]
    fn the_first_boot_tells_by_its_exit_code_who_is_to_blame() {
        let code = |cause, exit| first_boot_error(cause, None, Some(exit)).exit;
        let (load, startup) =
            (BootFailure::Failed(FailurePhase::Load), BootFailure::Failed(FailurePhase::Startup));
        assert_eq!(code(load, Exit::Code(4)), ExitStatus::AppNotLoaded);
        assert_eq!(code(load, Exit::Signal(9)), ExitStatus::AppNotLoaded);
        assert_eq!(code(load, Exit::Code(3)), ExitStatus::BootFailed);
        assert_eq!(code(startup, Exit::Code(3)), ExitStatus::BootFailed);
        let exited = |exit| code(BootFailure::Exited(exit), exit);
        assert_eq!(exited(Exit::Code(4)), ExitStatus::AppNotLoaded);
        assert_eq!(exited(Exit::Signal(11)), ExitStatus::BootFailed);
    }
}
