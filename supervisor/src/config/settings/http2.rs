//! The settings of HTTP/2: defaults, and the ranges that RFC 9113 sets.

use std::ops::RangeInclusive;

use protocol::{defaults, settings::Http2Settings};

use crate::{
    config::{
        raw::RawSettings,
        values::{ByteSize, Switch},
    },
    error::{ExitStatus, Expected, ExpectedError},
};

/// SETTINGS_MAX_FRAME_SIZE (RFC 9113 §6.5.2).
const FRAME_BYTES: RangeInclusive<u64> = 16_384..=16_777_215;
/// SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 §6.9.1).
const WINDOW_BYTES: RangeInclusive<u64> = 1..=0x7fff_ffff;
/// A connection's window begins with 65,535 bytes and can only grow (RFC 9113 §6.9.2).
const CONNECTION_WINDOW_BYTES: RangeInclusive<u64> = 65_535..=0x7fff_ffff;
/// What a number of 32 bits can say.
const BYTES: RangeInclusive<u64> = 1..=0xffff_ffff;

/// What workers are told of HTTP/2.
///
/// # Errors
/// Exit 2 for a size out of its range, and for a bound of HTTP/2 where it is off.
pub(super) fn http2(raw: &RawSettings) -> Expected<Http2Settings> {
    let enabled = raw.http2.map_or(defaults::HTTP2.enabled, |switch| switch == Switch::On);
    if !enabled {
        refuse_idle(raw)?;
    }
    let usual = &defaults::HTTP2;
    Ok(Http2Settings {
        enabled,
        concurrent_streams: raw.http2_max_concurrent_streams.map_or(usual.concurrent_streams, |it| it.0),
        header_list_bytes: size(
            raw.http2_max_header_list_size,
            "http2-max-header-list-size",
            usual.header_list_bytes,
            BYTES,
        )?,
        stream_window_bytes: size(
            raw.http2_initial_window_size,
            "http2-initial-window-size",
            usual.stream_window_bytes,
            WINDOW_BYTES,
        )?,
        connection_window_bytes: size(
            raw.http2_connection_window_size,
            "http2-connection-window-size",
            usual.connection_window_bytes,
            CONNECTION_WINDOW_BYTES,
        )?,
        frame_bytes: size(raw.http2_max_frame_size, "http2-max-frame-size", usual.frame_bytes, FRAME_BYTES)?,
        send_buffer_bytes: size(
            raw.http2_send_buffer_size,
            "http2-send-buffer-size",
            usual.send_buffer_bytes,
            BYTES,
        )?,
        pending_resets: raw.http2_max_pending_resets.map_or(usual.pending_resets, |it| it.0),
        local_resets: raw.http2_max_local_resets.map_or(usual.local_resets, |it| it.0),
        idle_frames: raw.http2_max_idle_frames.map_or(usual.idle_frames, |it| it.0),
        ping_interval_ms: raw.http2_ping_interval.map_or(usual.ping_interval_ms, |time| time.ms),
        ping_timeout_ms: raw.http2_ping_timeout.map_or(usual.ping_timeout_ms, |time| time.ms),
    })
}

fn size(given: Option<ByteSize>, name: &str, usual: u32, range: RangeInclusive<u64>) -> Expected<u32> {
    let Some(size) = given else { return Ok(usual) };
    match u32::try_from(size.0) {
        Ok(bytes) if range.contains(&size.0) => Ok(bytes),
        Ok(_) | Err(_) => {
            let message = format!("--{name} {} is out of range", size.0);
            Err(ExpectedError::new("settings/range", ExitStatus::Usage, message).help(format!(
                "write a size from {} to {} bytes",
                range.start(),
                range.end()
            )))
        }
    }
}

/// No option is accepted and then ignored.
fn refuse_idle(raw: &RawSettings) -> Expected<()> {
    let given = [
        ("http2-max-concurrent-streams", raw.http2_max_concurrent_streams.is_some()),
        ("http2-max-header-list-size", raw.http2_max_header_list_size.is_some()),
        ("http2-max-frame-size", raw.http2_max_frame_size.is_some()),
        ("http2-initial-window-size", raw.http2_initial_window_size.is_some()),
        ("http2-connection-window-size", raw.http2_connection_window_size.is_some()),
        ("http2-send-buffer-size", raw.http2_send_buffer_size.is_some()),
        ("http2-max-pending-resets", raw.http2_max_pending_resets.is_some()),
        ("http2-max-local-resets", raw.http2_max_local_resets.is_some()),
        ("http2-max-idle-frames", raw.http2_max_idle_frames.is_some()),
        ("http2-ping-interval", raw.http2_ping_interval.is_some()),
        ("http2-ping-timeout", raw.http2_ping_timeout.is_some()),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        None => Ok(()),
        Some((name, _)) => {
            let message = format!("--{name} has no meaning with --http2=false");
            Err(ExpectedError::new("http2/idle", ExitStatus::Usage, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::http2;
    use crate::config::{
        raw::RawSettings,
        values::{ByteSize, Positive, Switch},
    };

    #[test]
    fn sizes_keep_to_what_the_protocol_can_say() {
        for (bytes, is_sound) in [(16_383, false), (16_384, true), (16_777_215, true), (16_777_216, false)] {
            let raw = RawSettings { http2_max_frame_size: Some(ByteSize(bytes)), ..RawSettings::default() };
            assert_eq!(http2(&raw).is_ok(), is_sound, "{bytes}");
        }
        for (bytes, is_sound) in [(65_534, false), (65_535, true), (1 << 31, false)] {
            let raw =
                RawSettings { http2_connection_window_size: Some(ByteSize(bytes)), ..RawSettings::default() };
            assert_eq!(http2(&raw).is_ok(), is_sound, "{bytes}");
        }
    }

    #[test]
    fn a_bound_of_what_is_off_is_refused() {
        let off = RawSettings { http2: Some(Switch::Off), ..RawSettings::default() };
        assert!(http2(&off).is_ok_and(|settings| !settings.enabled));
        let idle = RawSettings { http2_max_concurrent_streams: Some(Positive(5)), ..off };
        assert!(http2(&idle).is_err());
    }
}
