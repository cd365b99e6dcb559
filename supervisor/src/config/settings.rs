//! Settled settings: every value there, checked, with the defaults filled in. Together with [`protocol::defaults`], which the
//! `worker` program shares, the only place that knows a default.
//! A pure function of the layers and the environment passed in: no file, no process state.

mod access_log;
mod asgi;
mod cgi;
mod forwarding;
mod http2;
mod http_limits;
mod recycling;
mod reply_fields;
pub mod tls;
pub mod unix_socket;
mod websocket;
mod wsgi;

use std::{collections::BTreeMap, path::PathBuf};

use protocol::{
    defaults,
    settings::{Application, EventLoop, Factory, Interface, Lifespan, PythonSettings, WorkerSettings},
};
use supervisor_fleet::PoolSettings;

use super::{
    raw::RawSettings,
    values::{
        BindAddress, EnvironmentEntry, FileMode, InterfaceChoice, LogFormat, LogLevel, MetricsAddress,
        Switch, WorkerClass, WorkerCount,
    },
};
use crate::error::{ExitStatus, Expected, ExpectedError};

/// What settling may look at besides the layers.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The process's environment.
    pub variables: BTreeMap<String, String>,
    /// Where the program was started.
    pub directory: PathBuf,
    /// Cores that this process may use: affinity and cgroup quota respected.
    pub cores: u32,
    /// Where standard output leads.
    pub stdout: StandardOutput,
    /// Where the sockets listen that were handed over.
    pub handed: Vec<BindAddress>,
}

/// Where standard output leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandardOutput {
    /// To somebody's eyes.
    Terminal,
    /// To a file, a pipe, a journal.
    Elsewhere,
}

/// All that a run is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What to serve, for people: "myapp:app", "the welcome app".
    pub application_name: String,
    /// Where to listen; never empty.
    pub bind: Vec<BindAddress>,
    /// Whose sockets those of `bind` are.
    pub sockets: SocketOrigin,
    /// Where plain HTTP is spoken beside TLS.
    pub insecure_bind: Vec<BindAddress>,
    /// Files of certificates and keys; none where every listener is plain.
    pub tls_files: Option<tls::TlsFiles>,
    /// Who may use the unix sockets among them.
    pub unix_socket: unix_socket::UnixSocketSettings,
    /// Rights that nobody gets on files that are made; none for the mask that was inherited.
    pub umask: Option<FileMode>,
    /// Where the numbers are served.
    pub metrics: MetricsSetting,
    /// What the fleet is told.
    pub pool: PoolSettings,
    /// What each worker is told.
    pub worker: WorkerSettings,
    /// Added to the environment of each worker.
    pub environment: Vec<EnvironmentEntry>,
    /// Working directory of the workers.
    pub directory: PathBuf,
    /// Where to write the process id.
    pub pid_file: Option<PathBuf>,
    /// Where the run is recorded.
    pub record: Option<PathBuf>,
    /// How much is logged.
    pub log_level: LogLevel,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What the operator should know about these settings, one line each.
    pub remarks: Vec<String>,
}

/// Whose the sockets are that we listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketOrigin {
    /// Ours to bind.
    Bound,
    /// Handed over by whoever started us.
    Handed,
}

/// Where the numbers are served, and whether somebody asked for that place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsSetting {
    /// Nowhere.
    Off,
    /// Nobody said where: a taken port is a warning.
    Default(BindAddress),
    /// Here: a taken port is an error.
    Explicit(BindAddress),
}

const DEFAULT_METRICS: &str = "127.0.0.1:9464";
/// As in gunicorn.
const DEFAULT_TIMEOUT_MS: u64 = 30_000;
const DEFAULT_BOOT_TIMEOUT_MS: u64 = 60_000;
const DEFAULT_MAX_SURGE: u32 = 1;
/// A quick stop (INT, QUIT) is for somebody who sits in front of it.
const QUICK_TIMEOUT_MS: u64 = 3_000;
/// From a stack dump to SIGABRT and from there to SIGKILL: enough to write a dump of 64 KiB on a busy machine.
const ABORT_GRACE_MS: u64 = 1_000;
/// Three chances to answer within the time-out, and at most one a second.
const LONGEST_HEARTBEAT_INTERVAL_MS: u64 = 1_000;

/// Fills in the defaults and checks what only shows when all settings are together.
///
/// # Errors
/// Exit 2 for a combination that makes no sense or does not work yet.
pub fn settle(raw: RawSettings, surroundings: &Surroundings) -> Expected<Settings> {
    let mut remarks = Vec::new();
    if raw.worker_class == Some(WorkerClass::AsyncByAlias) {
        remarks.push("this worker class is `async` here".to_owned());
    }
    if raw.worker_class == Some(WorkerClass::ThreadsByAlias) {
        remarks.push("this worker class is `threads` here".to_owned());
    }
    let directory = match &raw.chdir {
        Some(chdir) => surroundings.directory.join(chdir),
        None => surroundings.directory.clone(),
    };
    let pool = pool(&raw, surroundings, &mut remarks)?;
    let application = application(&raw, &directory, pool.workers, &mut remarks)?;
    let (bind, sockets) = bind(&raw, surroundings)?;
    let tls = tls::settle(&raw, &surroundings.directory, &bind)?;
    let (tls_files, worker_tls) = tls.map(|tls| (tls.files, tls.worker)).unzip();
    let heartbeat_interval_ms = (pool.heartbeat_timeout_ms / 3).clamp(1, LONGEST_HEARTBEAT_INTERVAL_MS);
    let access_log = access_log::settle(&raw, &application, surroundings)?;
    let log_level =
        raw.log_level.unwrap_or(LogLevel(defaults::LOG_LEVEL.parse().unwrap_or(tracing::Level::INFO)));
    let log_format = raw.log_format.unwrap_or(LogFormat::Auto);
    let settings = Settings {
        application_name: name_for_people(&application),
        metrics: match raw.metrics.clone() {
            None => MetricsSetting::Default(built_in(DEFAULT_METRICS)),
            Some(MetricsAddress::Off) => MetricsSetting::Off,
            Some(MetricsAddress::At { host, port }) => {
                MetricsSetting::Explicit(BindAddress::Tcp { host, port })
            }
        },
        worker: WorkerSettings {
            websocket: websocket::websocket(&raw, &application)?,
            application,
            heartbeat_interval_ms,
            graceful_timeout_ms: pool.graceful_timeout_ms,
            http: http_limits::settle(&raw)?,
            tls: worker_tls,
            forwarding: forwarding::settle(&raw, surroundings)?,
            access_log,
            reply_fields: reply_fields::settle(&raw),
            log_level: log_level.0.as_str().to_ascii_lowercase(),
            log_format: match log_format {
                LogFormat::Json => "json".to_owned(),
                LogFormat::Auto | LogFormat::Text => "text".to_owned(),
            },
        },
        unix_socket: unix_socket::settle(&raw, if sockets == SocketOrigin::Bound { &bind } else { &[] })?,
        umask: raw.umask,
        bind,
        sockets,
        insecure_bind: raw.insecure_bind,
        tls_files,
        pool,
        environment: raw.env,
        directory,
        record: raw.record.map(|path| surroundings.directory.join(path)),
        pid_file: raw.pid.map(|path| surroundings.directory.join(path)),
        log_level,
        log_format,
        remarks,
    };
    refuse_accidental_welcome(&settings, raw.welcome, surroundings)?;
    Ok(settings)
}

fn application(
    raw: &RawSettings,
    directory: &std::path::Path,
    workers: u32,
    remarks: &mut Vec<String>,
) -> Expected<Application> {
    if let Some(cgi) = cgi::cgi(raw, directory)? {
        wsgi::refuse_without_python(raw)?;
        return Ok(Application::Cgi(cgi));
    }
    let Some(app) = raw.app.as_deref().filter(|app| !app.is_empty()) else {
        wsgi::refuse_without_python(raw)?;
        return Ok(Application::Welcome);
    };
    if app.contains('/') {
        wsgi::refuse_without_python(raw)?;
        return Ok(Application::Native { program: directory.join(app).components().collect() });
    }
    if !app.contains(':') {
        let error =
            ExpectedError::new("app/form", ExitStatus::Usage, format!("`{app}` names no application"));
        return Err(match app {
            "status" | "top" | "reload" | "scale" | "drain" | "restart" | "stop" | "upgrade" | "metrics"
            | "config" | "init" | "doctor" | "completions" | "man" | "run" | "logs" => {
                error.help(format!("the command `supervise {app}` is not there yet"))
            }
            _ => error
                .help(format!("for Python write module and attribute: `supervise {app}:app`"))
                .help(format!("for a program write its path: `supervise ./{app}`")),
        });
    }
    let within = |path: &Option<PathBuf>| path.as_ref().map(|path| directory.join(path));
    Ok(Application::Python(PythonSettings {
        target: app.to_owned(),
        python: within(&raw.python),
        app_dir: within(&raw.app_dir).unwrap_or_else(|| directory.to_owned()),
        factory: if raw.factory == Some(Switch::On) { Factory::Call } else { Factory::Auto },
        interface: raw.interface.map_or(Interface::Auto, InterfaceChoice::of_python),
        wsgi: wsgi::settle(raw, workers, remarks)?,
        lifespan: raw.lifespan.map_or(Lifespan::Auto, |choice| choice.0),
        event_loop: raw.event_loop.as_ref().map_or(EventLoop::Auto, |choice| choice.0.clone()),
        asgi: asgi::settle(raw),
        env_file: within(&raw.env_file),
        log_config: within(&raw.log_config),
    }))
}

fn name_for_people(application: &Application) -> String {
    match application {
        Application::Welcome => "the welcome app".to_owned(),
        Application::Native { program } => program.display().to_string(),
        Application::Python(python) => python.target.clone(),
        Application::Cgi(cgi) => format!("CGI {}", cgi.path.display()),
    }
}

fn bind(raw: &RawSettings, surroundings: &Surroundings) -> Expected<(Vec<BindAddress>, SocketOrigin)> {
    if surroundings.handed.is_empty() {
        return Ok((bind_ourselves(raw, surroundings)?, SocketOrigin::Bound));
    }
    // gunicorn lets --bind lose without a word: then an address that somebody wrote down would not be served.
    if !raw.bind.is_empty() || raw.host.is_some() || raw.port.is_some() {
        let handed: Vec<_> = surroundings.handed.iter().map(BindAddress::to_string).collect();
        let message = format!(
            "--bind and sockets that were handed over (LISTEN_FDS: {}) exclude each other",
            handed.join(", ")
        );
        return Err(ExpectedError::new("bind/activation", ExitStatus::Usage, message)
            .help("leave --bind, --host and --port out: the addresses stand in the socket unit")
            .help("or stop and disable the socket unit"));
    }
    Ok((surroundings.handed.clone(), SocketOrigin::Handed))
}

fn bind_ourselves(raw: &RawSettings, surroundings: &Surroundings) -> Expected<Vec<BindAddress>> {
    if !raw.bind.is_empty() {
        return Ok(raw.bind.clone());
    }
    if raw.host.is_some() || raw.port.is_some() {
        let BindAddress::Tcp { host, port } = built_in(defaults::BIND) else {
            return Ok(vec![built_in(defaults::BIND)]);
        };
        let host = raw.host.clone().unwrap_or(host);
        return Ok(vec![BindAddress::Tcp { host, port: raw.port.unwrap_or(port) }]);
    }
    // Platforms that set PORT route to it from outside.
    match surroundings.variables.get("PORT").filter(|port| !port.is_empty()) {
        None => Ok(vec![built_in(defaults::BIND)]),
        Some(port) => match port.parse() {
            Ok(port) => Ok(vec![BindAddress::Tcp { host: defaults::BIND_HOST_WITH_PORT.to_owned(), port }]),
            Err(_) => {
                let message = format!("the environment variable PORT is `{port}`, which is no port");
                Err(ExpectedError::new("environment/value", ExitStatus::Usage, message)
                    .help("set it to a number from 0 to 65535, unset it, or use --bind"))
            }
        },
    }
}

#[expect(clippy::expect_used, reason = "a constant of ours: wrong only by a bug, and then in every test")]
fn built_in(address: &str) -> BindAddress {
    address.parse().expect("a default address must be an address")
}

fn pool(raw: &RawSettings, surroundings: &Surroundings, remarks: &mut Vec<String>) -> Expected<PoolSettings> {
    let count = match (
        raw.workers,
        surroundings.variables.get("WEB_CONCURRENCY").filter(|value| !value.is_empty()),
    ) {
        (Some(count), _) => count,
        (None, None) => WorkerCount::Number(1),
        (None, Some(text)) => text.parse().map_err(|error| {
            ExpectedError::new("environment/value", ExitStatus::Usage, format!("WEB_CONCURRENCY: {error}"))
        })?,
    };
    let workers = match count {
        WorkerCount::Number(workers) => workers,
        WorkerCount::Auto => {
            remarks.push(format!(
                "workers: auto is {} here (cores, affinity and cgroup quota)",
                surroundings.cores
            ));
            surroundings.cores
        }
    };
    Ok(PoolSettings {
        workers,
        max_surge: raw.max_surge.map_or(DEFAULT_MAX_SURGE, |surge| surge.0),
        boot_timeout_ms: raw.boot_timeout.map_or(DEFAULT_BOOT_TIMEOUT_MS, |time| time.ms),
        heartbeat_timeout_ms: raw.timeout.map_or(DEFAULT_TIMEOUT_MS, |time| time.ms),
        graceful_timeout_ms: raw.graceful_timeout.map_or(defaults::GRACEFUL_TIMEOUT_MS, |time| time.ms),
        quick_timeout_ms: QUICK_TIMEOUT_MS,
        abort_grace_ms: ABORT_GRACE_MS,
        shutdown_delay_ms: raw.shutdown_delay.map_or(0, |delay| delay.ms),
        recycling: recycling::settle(raw)?,
    })
}

/// The welcome page that answers for an application that was not found looks healthy to a platform: refused wherever
/// somebody but the user in front of the machine could see it.
fn refuse_accidental_welcome(
    settings: &Settings,
    welcome: Option<Switch>,
    surroundings: &Surroundings,
) -> Expected<()> {
    if settings.worker.application != Application::Welcome || welcome == Some(Switch::On) {
        return Ok(());
    }
    let port_is_set = surroundings.variables.get("PORT").is_some_and(|port| !port.is_empty());
    let outside = settings.bind.iter().chain(&settings.insecure_bind).find(|address| !is_loopback(address));
    let handed = settings.sockets == SocketOrigin::Handed;
    let because = match (port_is_set, outside) {
        (true, _) => "PORT is set".to_owned(),
        (false, _) if handed => "sockets were handed over (LISTEN_FDS)".to_owned(),
        (false, Some(address)) => format!("{address} can be reached from outside"),
        (false, None) => return Ok(()),
    };
    let message = format!("no application is named, and {because}");
    Err(ExpectedError::new("app/none", ExitStatus::Usage, message)
        .help("name it: `supervise package.module:attribute`")
        .help("or ask for the welcome page by --welcome"))
}

fn is_loopback(address: &BindAddress) -> bool {
    match address {
        // Only this machine reaches it, and the directory decides who.
        BindAddress::Unix(_) => true,
        BindAddress::Tcp { host, .. } => {
            host.eq_ignore_ascii_case("localhost")
                || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
