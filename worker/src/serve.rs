//! Serves any tower service: what a native application calls from its `main`. Under `supervise` it adopts the inherited sockets;
//! alone it binds them itself. Either way the same engine, the same drain and the same limits.

mod body;
mod from_hyper;
mod http_app;
mod reply;
mod request;
#[cfg(test)]
mod tests;

use std::{error::Error, fmt, future::Future, process::ExitCode};

use tower_service::Service;

use self::http_app::HttpApp;
pub use self::{
    body::{Body, BodyError},
    from_hyper::{FromHyper, from_hyper},
    request::ConnectionInfo,
};
use crate::{
    error::{StartError, StartErrorKind},
    farewell,
    inherited_sockets::{self, Inherited},
    listen, logging, settings, tokio_driver,
};

/// Serves `service` until told to leave, and gives back what `main` should exit with.
///
/// Any tower service from [`http::Request<Body>`] to an [`http::Response`] will do, an `axum::Router` for one (and any hyper
/// service by [`from_hyper`]); it is cloned for each request. It runs on a current-thread tokio runtime, so a handler that
/// blocks stops the whole worker: `tokio::task::spawn_blocking` is for such work. A handler that panics or fails is logged and
/// answered with 500. The handshake of a WebSocket comes to the service as the plain request that it also is.
///
/// Alone (without `supervise`) it listens on every `--bind ADDR` of the command line, else on `HOST` and `PORT` of the environment,
/// else on 127.0.0.1:8000.
pub fn serve<S, B>(service: S) -> ExitCode
where
    S: Service<http::Request<Body>, Response = http::Response<B>> + Clone + 'static,
    S::Error: fmt::Display,
    B: http_body::Body + 'static,
    B::Error: fmt::Display,
{
    serve_with(|| std::future::ready(Ok::<_, Box<dyn Error>>(service)))
}

/// As [`serve`], for a service that must be made asynchronously: `start` runs inside the runtime, so it may open connections and
/// read files. Its failure is reported as a failed start (exit code 3), and the worker is ready only after it.
pub fn serve_with<S, B, F, E>(start: impl FnOnce() -> F) -> ExitCode
where
    F: Future<Output = Result<S, E>>,
    E: fmt::Display,
    S: Service<http::Request<Body>, Response = http::Response<B>> + Clone + 'static,
    S::Error: fmt::Display,
    B: http_body::Body + 'static,
    B::Error: fmt::Display,
{
    match prepare() {
        Ok(inherited) => on(inherited, start),
        Err(error) => farewell::report_unadopted(&error),
    }
}

/// Serves on what was inherited or bound already.
pub(crate) fn on<S, B, F, E>(inherited: Inherited, start: impl FnOnce() -> F) -> ExitCode
where
    F: Future<Output = Result<S, E>>,
    E: fmt::Display,
    S: Service<http::Request<Body>, Response = http::Response<B>> + Clone + 'static,
    S::Error: fmt::Display,
    B: http_body::Body + 'static,
    B::Error: fmt::Display,
{
    logging::start(&inherited.settings);
    tokio_driver::run(inherited, &program_name(), |meter| async move {
        let service = start().await.map_err(|error| {
            StartError::new(StartErrorKind::Boot, format!("the application did not start: {error}"))
        })?;
        Ok(HttpApp::new(service, meter))
    })
}

fn prepare() -> Result<Inherited, StartError> {
    if tokio::runtime::Handle::try_current().is_ok() {
        return Err(StartError::boot(
            "worker::serve runs its own runtime and was called inside another one: call it from a plain `fn main`, \
             and make what needs a runtime in worker::serve_with",
        ));
    }
    if inherited_sockets::is_inherited() { inherited_sockets::adopt() } else { alone() }
}

fn alone() -> Result<Inherited, StartError> {
    let settings::Alone { worker, binds, environment: _ } = settings::of_native_application()?;
    let inherited = listen::on(worker, &binds)?;
    inherited_sockets::announce(&inherited.listeners);
    Ok(inherited)
}

/// What the supervisor calls the application.
fn program_name() -> String {
    std::env::current_exe()
        .ok()
        .and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()))
        .unwrap_or_else(|| "native application".to_owned())
}
