//! From the settings of HTTP to the engine's limits, for every driver of the engine.

use std::time::Duration;

use protocol::settings::{
    Http2Settings, HttpSettings, PerMessageDeflate, WebSocketMode, WebSocketSettings, http1::HalfClose,
};
use worker_server::{AdmissionLimits, Compression, Http2Limits, Limits, WebSocketLimits};

/// The engine's limits as the settings say them, for an application that speaks no WebSocket; bounds of 0 are none.
#[must_use]
pub fn limits(http: &HttpSettings) -> Limits {
    Limits {
        keep_alive_timeout: Duration::from_millis(http.keep_alive_timeout_ms),
        header_read_timeout: Duration::from_millis(http.header_read_timeout_ms),
        body_read_timeout: Duration::from_millis(http.body_read_timeout_ms),
        body_bytes_per_second: (http.body_bytes_per_second > 0).then_some(http.body_bytes_per_second),
        write_timeout: Duration::from_millis(http.write_timeout_ms),
        request_timeout: time(http.request_timeout_ms),
        admission: (http.concurrent_requests > 0).then(|| AdmissionLimits {
            concurrent_requests: http.concurrent_requests as usize,
            queued_requests: http.queued_requests as usize,
            queue_timeout: Duration::from_millis(http.queue_timeout_ms),
        }),
        request_line_bytes: http.request_line_bytes as usize,
        head_bytes: http.head_bytes as usize,
        header_count: http.header_count as usize,
        body_bytes: (http.body_bytes > 0).then_some(http.body_bytes),
        half_close: match http.http1.half_close {
            HalfClose::Leaves => worker_server::HalfClose::Leaves,
            HalfClose::Waits => worker_server::HalfClose::Waits,
        },
        websocket: None,
        http2: http2_limits(&http.http2),
    }
}

fn http2_limits(http2: &Http2Settings) -> Option<Http2Limits> {
    http2.enabled.then_some(Http2Limits {
        concurrent_streams: http2.concurrent_streams,
        header_list_bytes: http2.header_list_bytes,
        stream_window_bytes: http2.stream_window_bytes,
        connection_window_bytes: http2.connection_window_bytes,
        frame_bytes: http2.frame_bytes,
        send_buffer_bytes: http2.send_buffer_bytes,
        pending_resets: http2.pending_resets as usize,
        local_resets: http2.local_resets as usize,
        idle_frames: http2.idle_frames,
        ping_interval: time(http2.ping_interval_ms),
        ping_timeout: time(http2.ping_timeout_ms),
    })
}

/// A time limit; 0 is none.
fn time(ms: u64) -> Option<Duration> {
    (ms > 0).then(|| Duration::from_millis(ms))
}

/// The engine's limits of WebSockets as the settings say them; `None` if they are off.
#[must_use]
pub fn websocket_limits(websocket: &WebSocketSettings) -> Option<WebSocketLimits> {
    match websocket.mode {
        WebSocketMode::None => None,
        WebSocketMode::Auto => Some(WebSocketLimits {
            message_bytes: usize::try_from(websocket.message_bytes).unwrap_or(usize::MAX),
            ping_interval: time(websocket.ping_interval_ms),
            ping_timeout: time(websocket.ping_timeout_ms),
            compression: match websocket.per_message_deflate {
                PerMessageDeflate::On => Compression::Deflate,
                PerMessageDeflate::Off => Compression::None,
            },
        }),
    }
}
