//! The bounds and time limits of HTTP: defaults, and what only makes sense together.

use protocol::{
    defaults,
    settings::{HttpSettings, http1::Http1Settings},
};

use super::http2;
use crate::{
    config::{raw::RawSettings, values::ByteSize},
    error::{ExitStatus, Expected, ExpectedError},
};

/// What workers are told of them.
///
/// # Errors
/// Exit 2 for a size out of its range, and for a queue without the bound that makes requests wait.
pub(super) fn settle(raw: &RawSettings) -> Expected<HttpSettings> {
    let bytes = |size: Option<ByteSize>, name: &str, default: u32| match size {
        None => Ok(default),
        Some(size) => match u32::try_from(size.0) {
            Ok(bytes) if bytes > 0 => Ok(bytes),
            Ok(_) | Err(_) => {
                let message = format!("--{name} {} is out of range", size.0);
                Err(ExpectedError::new("settings/range", ExitStatus::Usage, message)
                    .help("write a size from 1 to 4GiB"))
            }
        },
    };
    refuse_idle_queue(raw)?;
    let usual = &defaults::HTTP;
    Ok(HttpSettings {
        keep_alive_timeout_ms: raw.keep_alive.map_or(usual.keep_alive_timeout_ms, |time| time.ms),
        header_read_timeout_ms: raw.header_read_timeout.map_or(usual.header_read_timeout_ms, |time| time.ms),
        body_read_timeout_ms: raw.body_read_timeout.map_or(usual.body_read_timeout_ms, |time| time.ms),
        body_bytes_per_second: match raw.min_body_rate {
            Some(ByteSize(0)) => 0,
            rate => bytes(rate, "min-body-rate", usual.body_bytes_per_second)?,
        },
        write_timeout_ms: raw.write_timeout.map_or(usual.write_timeout_ms, |time| time.ms),
        request_timeout_ms: raw.request_timeout.map_or(usual.request_timeout_ms, |time| time.ms),
        connections: raw.worker_connections.map_or(usual.connections, |count| count.0),
        concurrent_requests: raw.limit_concurrency.map_or(usual.concurrent_requests, |count| count.0),
        queued_requests: raw.limit_queue.map_or(usual.queued_requests, |count| count.0),
        queue_timeout_ms: raw.queue_timeout.map_or(usual.queue_timeout_ms, |time| time.ms),
        request_line_bytes: bytes(raw.limit_request_line, "limit-request-line", usual.request_line_bytes)?,
        head_bytes: bytes(raw.limit_request_head, "limit-request-head", usual.head_bytes)?,
        header_count: raw.limit_request_fields.map_or(usual.header_count, |count| count.0),
        body_bytes: raw.limit_request_body.map_or(usual.body_bytes, |size| size.0),
        drain_linger_ms: raw.drain_linger.map_or(usual.drain_linger_ms, |time| time.ms),
        http2: http2::http2(raw)?,
        http1: Http1Settings { half_close: raw.half_close.map_or(usual.http1.half_close, |choice| choice.0) },
    })
}

/// A queue in which nobody ever waits.
fn refuse_idle_queue(raw: &RawSettings) -> Expected<()> {
    let given = [("limit-queue", raw.limit_queue.is_some()), ("queue-timeout", raw.queue_timeout.is_some())];
    let first = given.into_iter().find_map(|(name, is_given)| is_given.then_some(name));
    match (raw.limit_concurrency, first) {
        (None, Some(name)) => {
            let message = format!("--{name} has no effect: without --limit-concurrency no request waits");
            Err(ExpectedError::new("settings/idle", ExitStatus::Usage, message)
                .help("leave it out, or say how many requests the application may have at once"))
        }
        (Some(_), _) | (None, None) => Ok(()),
    }
}
