//! Settles what a worker is told about WebSockets.

use protocol::{
    defaults,
    settings::{
        Application, Interface, PerMessageDeflate, PythonSettings, WebSocketSettings, wsgi::WorkerClass,
    },
};

use crate::{
    config::{raw::RawSettings, values::Switch},
    error::{ExitStatus, Expected, ExpectedError},
};

/// The settings of WebSockets, which only Python applications speak.
pub(super) fn websocket(raw: &RawSettings, application: &Application) -> Expected<WebSocketSettings> {
    let given = [
        ("ws", raw.ws.is_some()),
        ("ws-max-size", raw.ws_max_size.is_some()),
        ("ws-ping-interval", raw.ws_ping_interval.is_some()),
        ("ws-ping-timeout", raw.ws_ping_timeout.is_some()),
        ("ws-per-message-deflate", raw.ws_per_message_deflate.is_some()),
    ];
    let first = given.into_iter().find_map(|(name, is_given)| is_given.then_some(name));
    match (application, first) {
        (_, None) => {}
        (Application::Python(python), Some(name)) if speaks_wsgi(python) => {
            let message = format!("--{name} has no effect: a WSGI application speaks no WebSocket");
            return Err(ExpectedError::new("settings/idle", ExitStatus::Usage, message)
                .help("leave it out, or name an ASGI application"));
        }
        // What an application is that is found by looking, its worker finds out, and says that these are idle.
        (Application::Python(_), Some(_)) => {}
        (Application::Welcome | Application::Native { .. } | Application::Cgi(_), Some(name)) => {
            let message = format!("--{name} has no effect: only Python applications speak WebSocket here");
            return Err(ExpectedError::new("settings/idle", ExitStatus::Usage, message)
                .help("leave it out, or name a Python application"));
        }
    }
    let usual = &defaults::WEBSOCKET;
    let message_bytes = raw.ws_max_size.map_or(usual.message_bytes, |size| size.0);
    if message_bytes == 0 {
        let error =
            ExpectedError::new("settings/range", ExitStatus::Usage, "--ws-max-size 0 takes no message");
        return Err(error.help("write a size from 1, or --ws none"));
    }
    Ok(WebSocketSettings {
        mode: raw.ws.map_or(usual.mode, |choice| choice.0),
        message_bytes,
        ping_interval_ms: raw.ws_ping_interval.map_or(usual.ping_interval_ms, |time| time.ms),
        ping_timeout_ms: raw.ws_ping_timeout.map_or(usual.ping_timeout_ms, |time| time.ms),
        per_message_deflate: match raw.ws_per_message_deflate {
            None => usual.per_message_deflate,
            Some(Switch::On) => PerMessageDeflate::On,
            Some(Switch::Off) => PerMessageDeflate::Off,
        },
    })
}

/// Whether the settings alone say so.
fn speaks_wsgi(python: &PythonSettings) -> bool {
    let by_class = match python.wsgi.worker_class {
        WorkerClass::Threads | WorkerClass::Sync => true,
        WorkerClass::Async => false,
    };
    by_class || python.interface == Interface::Wsgi
}
