//! From the settings of HTTP to the engine's limits, for every driver of the engine.

use std::time::Duration;

use protocol::settings::HttpSettings;
use worker_server::Limits;

/// The engine's limits as the settings say them; a body bound of 0 is none.
#[must_use]
pub fn limits(http: &HttpSettings) -> Limits {
    Limits {
        keep_alive_timeout: Duration::from_millis(http.keep_alive_timeout_ms),
        header_read_timeout: Duration::from_millis(http.header_read_timeout_ms),
        body_read_timeout: Duration::from_millis(http.body_read_timeout_ms),
        write_timeout: Duration::from_millis(http.write_timeout_ms),
        request_line_bytes: http.request_line_bytes as usize,
        head_bytes: http.head_bytes as usize,
        header_count: http.header_count as usize,
        body_bytes: (http.body_bytes > 0).then_some(http.body_bytes),
        websocket: None,
    }
}
