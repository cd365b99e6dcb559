//! How a WSGI application is run: worker class, threads, bounds.

use protocol::{
    defaults,
    settings::{
        Interface,
        wsgi::{self, Concurrency, WsgiSettings},
    },
};

use crate::{
    config::{
        raw::RawSettings,
        values::{InterfaceChoice, WorkerClass},
    },
    error::{ExitStatus, Expected, ExpectedError},
};

/// Settles them, and says in `remarks` what was understood in another way than it was written.
pub(super) fn settle(raw: &RawSettings, workers: u32, remarks: &mut Vec<String>) -> Expected<WsgiSettings> {
    let worker_class = match raw.worker_class {
        None | Some(WorkerClass::Async | WorkerClass::AsyncByAlias) => wsgi::WorkerClass::Async,
        Some(WorkerClass::Threads | WorkerClass::ThreadsByAlias) => wsgi::WorkerClass::Threads,
        Some(WorkerClass::Sync) => wsgi::WorkerClass::Sync,
    };
    let settings = WsgiSettings {
        worker_class,
        threads: raw.threads.map(|threads| threads.0),
        workers,
        request_buffer_bytes: raw
            .wsgi_request_buffer
            .map_or(defaults::WSGI_REQUEST_BUFFER_BYTES, |size| size.0),
        reply_buffer_bytes: raw.wsgi_reply_buffer.map_or(defaults::WSGI_REPLY_BUFFER_BYTES, |size| size.0),
    };
    match raw.worker_class {
        Some(WorkerClass::Sync) if settings.concurrency() != Concurrency::Inline => {
            remarks.push("`sync` with more than one thread is `threads`, as in gunicorn".to_owned());
        }
        None | Some(_) => {}
    }
    refuse_other_interfaces(raw, worker_class)?;
    Ok(settings)
}

fn refuse_other_interfaces(raw: &RawSettings, worker_class: wsgi::WorkerClass) -> Expected<()> {
    let is_asgi = match raw.interface.map(InterfaceChoice::of_python) {
        Some(Interface::Asgi3 | Interface::Asgi2) => true,
        None | Some(Interface::Auto | Interface::Wsgi) => false,
    };
    let refused = match worker_class {
        wsgi::WorkerClass::Sync => "--worker-class sync",
        wsgi::WorkerClass::Threads => "--worker-class threads",
        wsgi::WorkerClass::Async if raw.threads.is_some() => "--threads",
        wsgi::WorkerClass::Async => return Ok(()),
    };
    if !is_asgi {
        return Ok(());
    }
    let message = format!("{refused} is for WSGI applications, and --interface says ASGI");
    Err(ExpectedError::new("settings/combination", ExitStatus::Usage, message)
        .help("leave one of the two away: ASGI runs on an event loop (`--worker-class async`)"))
}

/// The same options without a Python application.
pub(super) fn refuse_without_python(raw: &RawSettings) -> Expected<()> {
    let refused = match raw.worker_class {
        Some(WorkerClass::Sync) => "--worker-class sync",
        Some(WorkerClass::Threads | WorkerClass::ThreadsByAlias) => "--worker-class threads",
        None | Some(WorkerClass::Async | WorkerClass::AsyncByAlias) if raw.threads.is_some() => "--threads",
        None | Some(WorkerClass::Async | WorkerClass::AsyncByAlias) => return Ok(()),
    };
    let message = format!("{refused} is for WSGI applications");
    Err(ExpectedError::new("settings/combination", ExitStatus::Usage, message)
        .help("name one: `supervise package.module:attribute`"))
}
