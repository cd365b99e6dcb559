//! The settled settings of a worker that runs alone: from its command line, or from nothing but the environment. A supervised
//! worker is told its settings instead. Defaults are those of [`protocol::defaults`].

use std::{env, path::PathBuf};

use protocol::{
    defaults,
    settings::{
        Application, CgiAuthorization, CgiSettings, EventLoop, Factory, ForwardingSettings, HttpSettings,
        Interface, Lifespan, PerMessageDeflate, PythonSettings, WebSocketMode, WebSocketSettings,
        WorkerSettings,
        access_log::{AccessLogDestination, AccessLogFormat, AccessLogSettings, COMBINED},
        check_forwarding,
        wsgi::{WorkerClass, WsgiSettings},
    },
};

use crate::{
    cli::{Cli, InterfaceChoice, LifespanChoice, LogFormat, WebSocketChoice, WorkerClass as ClassChoice},
    error::{StartError, StartErrorKind},
};

/// What a worker that runs alone does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alone {
    /// As a supervised worker would be told.
    pub worker: WorkerSettings,
    /// Addresses to listen on; never empty.
    pub binds: Vec<String>,
    /// Added to the environment of the application.
    pub environment: Vec<(String, String)>,
}

/// Heartbeats of a worker alone go nowhere; the number only has to be there.
const HEARTBEAT_INTERVAL_MS: u64 = 1_000;

/// Settings for a native application that was started by hand: `--bind` in its command line, else `HOST` and `PORT`. Other
/// arguments are its own.
///
/// # Errors
/// [`StartError`] for a `--bind` without an address.
pub fn of_native_application() -> Result<Alone, StartError> {
    let mut binds = Vec::new();
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--bind" || argument == "-b" {
            let address = arguments.next().ok_or_else(|| usage(format!("{argument} needs an address")))?;
            binds.push(address);
        } else if let Some(address) = argument.strip_prefix("--bind=") {
            binds.push(address.to_owned());
        }
    }
    if binds.is_empty() {
        binds.push(default_bind(|name| env::var(name).ok().filter(|value| !value.is_empty())));
    }
    Ok(Alone { worker: unconfigured(Application::Welcome), binds, environment: Vec::new() })
}

/// Settings from the `worker` program's own command line.
///
/// # Errors
/// [`StartError`] for a combination that makes no sense.
pub fn of_command_line(cli: Cli) -> Result<Alone, StartError> {
    let application = application(&cli)?;
    refuse_idle_options(&cli, &application)?;
    let mut worker = unconfigured(application);
    worker.forwarding = forwarding(&cli)?;
    if let Some(timeout) = cli.graceful_timeout {
        worker.graceful_timeout_ms = timeout.ms;
    }
    if let Some(level) = cli.log_level {
        worker.log_level = level.to_string();
    }
    if cli.log_format == Some(LogFormat::Json) {
        worker.log_format = "json".to_owned();
    }
    worker.http = limits(&cli);
    settle_websocket(&mut worker.websocket, &cli);
    worker.access_log = access_log(cli.access_logfile, cli.access_logformat)?;
    let mut binds = cli.bind;
    if binds.is_empty() {
        binds.push(default_bind(|name| env::var(name).ok().filter(|value| !value.is_empty())));
    }
    Ok(Alone { worker, binds, environment: cli.env })
}

fn forwarding(cli: &Cli) -> Result<ForwardingSettings, StartError> {
    let usual = defaults::forwarding();
    let settings = ForwardingSettings {
        forwarded_headers: cli.forwarded_headers.clone().map_or(usual.forwarded_headers, |list| list.0),
        secure_scheme_headers: cli
            .secure_scheme_headers
            .clone()
            .map_or(usual.secure_scheme_headers, |list| list.0),
        forwarder_headers: cli.forwarder_headers.clone().map_or(usual.forwarder_headers, |list| list.0),
        forwarded_allow_ips: cli.forwarded_allow_ips.clone().map_or(usual.forwarded_allow_ips, |list| list.0),
        proxy_protocol: cli.proxy_protocol.unwrap_or(usual.proxy_protocol),
        proxy_allow_ips: cli.proxy_allow_ips.clone().map_or(usual.proxy_allow_ips, |list| list.0),
    };
    check_forwarding(&settings).map_err(usage)?;
    Ok(settings)
}

fn limits(cli: &Cli) -> HttpSettings {
    let usual = defaults::HTTP;
    HttpSettings {
        connections: cli.worker_connections.unwrap_or(usual.connections),
        concurrent_requests: cli.limit_concurrency.unwrap_or(usual.concurrent_requests),
        queued_requests: cli.limit_queue.unwrap_or(usual.queued_requests),
        queue_timeout_ms: cli.queue_timeout.map_or(usual.queue_timeout_ms, |time| time.ms),
        request_timeout_ms: cli.request_timeout.map_or(usual.request_timeout_ms, |time| time.ms),
        body_bytes_per_second: cli.min_body_rate.unwrap_or(usual.body_bytes_per_second),
        ..usual
    }
}

fn access_log(
    file: Option<String>,
    format: Option<AccessLogFormat>,
) -> Result<Option<AccessLogSettings>, StartError> {
    let Some(file) = file else { return Ok(None) };
    let destination = match file.as_str() {
        "-" => AccessLogDestination::Stdout,
        "" => return Err(usage("--access-logfile needs a path, or `-` for standard output")),
        path => AccessLogDestination::File(std::path::absolute(path).map_err(|error| {
            StartError::new(StartErrorKind::Os, format!("--access-logfile {path}: {error}"))
        })?),
    };
    let format = format.unwrap_or_else(|| AccessLogFormat::Template(COMBINED.to_owned()));
    Ok(Some(AccessLogSettings { destination, format }))
}

fn settle_websocket(websocket: &mut WebSocketSettings, cli: &Cli) {
    if cli.ws == Some(WebSocketChoice::None) {
        websocket.mode = WebSocketMode::None;
    }
    if let Some(size) = cli.ws_max_size {
        websocket.message_bytes = size;
    }
    if let Some(interval) = cli.ws_ping_interval {
        websocket.ping_interval_ms = interval.ms;
    }
    if let Some(timeout) = cli.ws_ping_timeout {
        websocket.ping_timeout_ms = timeout.ms;
    }
    if cli.ws_per_message_deflate == Some(false) {
        websocket.per_message_deflate = PerMessageDeflate::Off;
    }
}

fn unconfigured(application: Application) -> WorkerSettings {
    WorkerSettings {
        application,
        heartbeat_interval_ms: HEARTBEAT_INTERVAL_MS,
        graceful_timeout_ms: defaults::GRACEFUL_TIMEOUT_MS,
        http: defaults::HTTP,
        // A supervisor proves certificates before anything listens, and renews them: a worker alone leaves TLS to its pod's proxy.
        tls: None,
        forwarding: defaults::forwarding(),
        access_log: None,
        websocket: defaults::WEBSOCKET,
        reply_fields: defaults::reply_fields(),
        log_level: defaults::LOG_LEVEL.to_owned(),
        log_format: defaults::LOG_FORMAT.to_owned(),
    }
}

/// PORT means that a platform routes to us from outside; HOST alone only changes the interface.
fn default_bind(variable: impl Fn(&str) -> Option<String>) -> String {
    let (loopback, default_port) = defaults::BIND.rsplit_once(':').expect("the default has a port");
    let (host, port) = match (variable("HOST"), variable("PORT")) {
        (None, None) => (loopback.to_owned(), default_port.to_owned()),
        (None, Some(port)) => (defaults::BIND_HOST_WITH_PORT.to_owned(), port),
        (Some(host), port) => (host, port.unwrap_or_else(|| default_port.to_owned())),
    };
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn application(cli: &Cli) -> Result<Application, StartError> {
    let is_cgi = cli.interface == Some(InterfaceChoice::Cgi);
    let Some(app) = cli.app.as_deref() else {
        return if is_cgi {
            Err(usage("--interface cgi needs a directory of programs, or a program"))
        } else {
            Ok(Application::Welcome)
        };
    };
    let directory = env::current_dir().map_err(|error| {
        StartError::new(StartErrorKind::Os, format!("the working directory is gone: {error}"))
    })?;
    if is_cgi {
        return Ok(Application::Cgi(cgi(cli, directory.join(app))));
    }
    if app.contains('/') {
        return Ok(Application::Native { program: directory.join(app) });
    }
    if !app.contains(':') {
        return Err(usage(format!(
            "`{app}` names no application: write `worker {app}:app` for Python, `worker ./{app}` for a program"
        )));
    }
    Ok(Application::Python(PythonSettings {
        target: app.to_owned(),
        python: cli.python.clone(),
        app_dir: cli.app_dir.as_ref().map_or_else(|| directory.clone(), |path| directory.join(path)),
        factory: if cli.factory { Factory::Call } else { Factory::Auto },
        interface: match cli.interface.unwrap_or(InterfaceChoice::Auto) {
            InterfaceChoice::Auto | InterfaceChoice::Cgi => Interface::Auto,
            InterfaceChoice::Asgi3 => Interface::Asgi3,
            InterfaceChoice::Asgi2 => Interface::Asgi2,
            InterfaceChoice::Wsgi => Interface::Wsgi,
        },
        wsgi: WsgiSettings {
            worker_class: match cli.worker_class.unwrap_or(ClassChoice::Async) {
                ClassChoice::Async => WorkerClass::Async,
                ClassChoice::Threads => WorkerClass::Threads,
                ClassChoice::Sync => WorkerClass::Sync,
            },
            threads: cli.threads,
            workers: 1,
            request_buffer_bytes: defaults::WSGI_REQUEST_BUFFER_BYTES,
            reply_buffer_bytes: defaults::WSGI_REPLY_BUFFER_BYTES,
        },
        lifespan: match cli.lifespan.unwrap_or(LifespanChoice::Auto) {
            LifespanChoice::Auto => Lifespan::Auto,
            LifespanChoice::On => Lifespan::On,
            LifespanChoice::Off => Lifespan::Off,
        },
        event_loop: cli.event_loop.clone().unwrap_or(EventLoop::Auto),
        asgi: defaults::asgi(),
        env_file: cli.env_file.as_ref().map(|path| directory.join(path)),
        log_config: cli.log_config.as_ref().map(|path| directory.join(path)),
    }))
}

fn cgi(cli: &Cli, path: PathBuf) -> CgiSettings {
    CgiSettings {
        path,
        timeout_ms: cli.cgi_timeout.map_or(defaults::CGI_TIMEOUT_MS, |time| time.ms),
        processes: cli.cgi_processes.unwrap_or(defaults::CGI_PROCESSES),
        authorization: if cli.cgi_pass_authorization {
            CgiAuthorization::Passed
        } else {
            CgiAuthorization::Withheld
        },
        environment: cli.env.clone(),
    }
}

/// No option is accepted and then ignored.
fn refuse_idle_options(cli: &Cli, application: &Application) -> Result<(), StartError> {
    let given: [(&str, Option<&PathBuf>); 4] = [
        ("--python", cli.python.as_ref()),
        ("--app-dir", cli.app_dir.as_ref()),
        ("--env-file", cli.env_file.as_ref()),
        ("--log-config", cli.log_config.as_ref()),
    ];
    let paths = given.into_iter().filter_map(|(name, path)| path.map(|_path| name));
    let choices = [
        ("--factory", cli.factory),
        ("--worker-class", cli.worker_class.is_some_and(|class| class != ClassChoice::Async)),
        ("--threads", cli.threads.is_some()),
        ("--interface", cli.interface.is_some_and(|choice| choice != InterfaceChoice::Cgi)),
        ("--lifespan", cli.lifespan.is_some()),
        ("--loop", cli.event_loop.is_some()),
        ("--ws", cli.ws.is_some()),
        ("--ws-max-size", cli.ws_max_size.is_some()),
        ("--ws-ping-interval", cli.ws_ping_interval.is_some()),
        ("--ws-ping-timeout", cli.ws_ping_timeout.is_some()),
        ("--ws-per-message-deflate", cli.ws_per_message_deflate.is_some()),
    ];
    let of_python: Vec<_> =
        paths.chain(choices.into_iter().filter(|(_, given)| *given).map(|(name, _)| name)).collect();
    let of_cgi = [
        ("--cgi-timeout", cli.cgi_timeout.is_some()),
        ("--cgi-processes", cli.cgi_processes.is_some()),
        ("--cgi-pass-authorization", cli.cgi_pass_authorization),
    ];
    let idle = of_cgi.into_iter().find(|(_, given)| *given && !matches!(application, Application::Cgi(_)));
    if let Some((option, _)) = idle {
        return Err(usage(format!("{option} has no meaning without --interface cgi")));
    }
    match (application, of_python.first()) {
        (Application::Python(_), _) | (Application::Native { .. } | Application::Cgi(_), None) => Ok(()),
        (Application::Welcome, None) if cli.env.is_empty() => Ok(()),
        (Application::Welcome, None) => Err(usage("--env has no meaning for the welcome app")),
        (Application::Welcome | Application::Native { .. } | Application::Cgi(_), Some(option)) => {
            Err(usage(format!("{option} is for Python applications (`worker module:attribute`)")))
        }
    }
}

fn usage(message: impl Into<String>) -> StartError {
    StartError::new(StartErrorKind::Usage, message)
}

#[cfg(test)]
mod tests {
    use super::default_bind;

    #[test]
    fn host_and_port_of_the_environment_say_where_to_listen() {
        let bind = |host: Option<&str>, port: Option<&str>| {
            default_bind(|name| if name == "HOST" { host } else { port }.map(ToOwned::to_owned))
        };
        assert_eq!(bind(None, None), "127.0.0.1:8000");
        assert_eq!(bind(None, Some("80")), "0.0.0.0:80");
        assert_eq!(bind(Some("::1"), None), "[::1]:8000");
        assert_eq!(bind(Some("localhost"), Some("9")), "localhost:9");
    }
}
