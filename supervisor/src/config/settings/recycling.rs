//! When workers that serve well are replaced: what the fleet is told, and what only makes sense together.

use supervisor_fleet::RecyclingSettings;

use crate::{
    config::raw::RawSettings,
    error::{ExitStatus, Expected, ExpectedError},
};

/// What is looked at with each heartbeat replaces a worker about once a second at most; a shorter life would be all boot.
const SHORTEST_LIFETIME_MS: u64 = 1_000;

/// What the fleet is told. A bound of 0 is none, as in gunicorn.
///
/// # Errors
/// Exit 2 for a jitter without the bound that it spreads, for a life that is all boot, and for a hard bound of the memory at or below the soft one.
pub(super) fn settle(raw: &RawSettings) -> Expected<RecyclingSettings> {
    let settings = RecyclingSettings {
        max_requests: raw.max_requests.map(|count| count.0).filter(|&most| most > 0),
        max_requests_jitter: raw.max_requests_jitter.map_or(0, |count| count.0),
        max_lifetime_ms: raw.max_lifetime.map(|time| time.ms).filter(|&most_ms| most_ms > 0),
        max_lifetime_jitter_ms: raw.max_lifetime_jitter.map_or(0, |time| time.ms),
        max_memory_bytes: raw.max_memory.map(|size| size.0).filter(|&most| most > 0),
        max_memory_hard_bytes: raw.max_memory_hard.map(|size| size.0).filter(|&most| most > 0),
    };
    refuse_idle_jitter("max-requests", settings.max_requests, settings.max_requests_jitter)?;
    refuse_idle_jitter("max-lifetime", settings.max_lifetime_ms, settings.max_lifetime_jitter_ms)?;
    if let Some(most_ms) = settings.max_lifetime_ms.filter(|&most_ms| most_ms < SHORTEST_LIFETIME_MS) {
        let message = format!("--max-lifetime {most_ms}ms is too short: workers would do little but start");
        return Err(ExpectedError::new("settings/range", ExitStatus::Usage, message)
            .help("set at least 1s, or `off`"));
    }
    match (settings.max_memory_bytes, settings.max_memory_hard_bytes) {
        (Some(soft), Some(hard)) if hard <= soft => {
            let message = format!(
                "--max-memory-hard ({hard} bytes) is not above --max-memory ({soft} bytes): no worker would be replaced in good order"
            );
            Err(ExpectedError::new("settings/conflict", ExitStatus::Usage, message)
                .help("leave one of them out, or set --max-memory-hard higher"))
        }
        (Some(_) | None, Some(_) | None) => Ok(settings),
    }
}

fn refuse_idle_jitter(name: &str, bound: Option<u64>, jitter: u64) -> Expected<()> {
    if jitter == 0 || bound.is_some() {
        return Ok(());
    }
    let message = format!("--{name}-jitter spreads --{name}, and that is not set or 0");
    Err(ExpectedError::new("settings/conflict", ExitStatus::Usage, message)
        .help(format!("set --{name}, or leave --{name}-jitter out")))
}
