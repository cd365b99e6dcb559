//! The shell around the law of supervision: parse, settle, bind, run. The only file that knows all rooms of this crate.

pub mod activation;
pub mod certificates;
pub mod cli;
pub mod commands;
pub mod config;
pub mod control_pipes;
pub mod error;
pub mod event_loop;
pub mod evidence;
pub mod generation;
pub mod histogram;
pub mod listeners;
pub mod logging;
pub mod memory_watch;
pub mod metrics;
pub mod obituary;
pub mod out_of_memory;
pub mod pid_file;
pub mod port_holder;
pub mod proc_files;
pub mod processes;
pub mod recorder;
pub mod reload;
pub mod scoreboard;
pub mod signals;
pub mod spelling;
pub mod stack_dumps;
pub mod status_server;
pub mod story;
pub mod systemd;
pub mod tally;
pub mod watch;
pub mod workers;

use std::{
    ffi::OsString,
    hash::{BuildHasher, Hasher, RandomState},
    io::IsTerminal as _,
    net::TcpListener,
    path::PathBuf,
    process::ExitCode,
    time::Instant,
};

use clap::Parser;
use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    stat::{Mode, umask},
};
use protocol::settings::{Application, wsgi::WorkerClass};
use tokio::sync::mpsc;

use activation::{Activation, HandedSocket};
use certificates::Certificates;
use cli::{Cli, Command, RunOptions};
use config::{
    Sources,
    settings::{MetricsSetting, Settings, SocketOrigin, StandardOutput, Surroundings},
};
use error::{ExitStatus, Expected, ExpectedError};
use event_loop::{EventLoop, Start};
use generation::Generation;
use listeners::{Access, Listener, Scheme};
use logging::Log;
use pid_file::PidFile;
use recorder::Recorder;
use signals::Signals;
use systemd::Notifier;
use workers::Workers;

/// The program: from the command line to the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let began = Instant::now();
    let cli = match Cli::try_parse_from(spelling::ours(std::env::args_os())) {
        Ok(cli) => cli,
        Err(refusal) => {
            // Help and version come this way too, with code 0. A reader that is gone wants neither.
            let _gone = refusal.print();
            return if refusal.exit_code() == 0 { ExitCode::SUCCESS } else { ExitStatus::Usage.into() };
        }
    };
    let done = match cli.command {
        Some(Command::CheckConfig(options)) => surroundings()
            .map(|surroundings| Sources::new(*options, surroundings))
            .and_then(|sources| commands::check_config::run(&sources))
            .map_err(tell),
        Some(Command::Replay { file }) => commands::replay::run(&file).map_err(tell),
        None => serve(cli.run, began),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(status) => status.into(),
    }
}

/// Before there is a log.
fn tell(error: ExpectedError) -> ExitStatus {
    eprintln!("{error}");
    error.exit
}

/// Errors are told where they belong: before the log has begun on stderr, after that in the log, which cannot block.
fn serve(options: RunOptions, began: Instant) -> Result<(), ExitStatus> {
    let prepared = signals::block().and_then(|()| processes::take_over_inheritance());
    prepared.map_err(|error| tell(system_error("prepare the process", &error)))?;
    let mut surroundings = surroundings().map_err(tell)?;
    let activation = Activation::take(&surroundings.variables).map_err(tell)?;
    surroundings.handed = activation.addresses();
    let sources = Sources::new(options, surroundings);
    let settings = sources.settle().map_err(tell)?;
    let log = Log::start(settings.log_level.0, settings.log_format)
        .map_err(|error| tell(system_error("start the log", &error)))?;
    let outcome = run(sources, settings, activation, began);
    if let Err(error) = &outcome {
        log.report(error);
    }
    log.flush();
    outcome.map_err(|error| error.exit)
}

fn run(sources: Sources, settings: Settings, activation: Activation, began: Instant) -> Expected<()> {
    if let Some(remark) = &activation.remark {
        tracing::warn!(event = "remark", "{remark}");
    }
    let worker_program = worker_program()?;
    raise_descriptor_limit();
    if let Some(mask) = settings.umask {
        // Inherited by every worker.
        umask(Mode::from_bits_truncate(mask.0));
    }
    if let Some(path) = &settings.pid_file {
        PidFile::check(path)?;
    }
    let notifier = Notifier::new(sources.variables());
    let generation = Generation::prepare(settings, None)?;
    let settings = &generation.settings;
    let listeners = listen(settings, activation.sockets)?;
    let metrics = bind_metrics(&settings.metrics)?;
    let pid_file = settings.pid_file.as_deref().map(PidFile::write).transpose()?;
    let seed = RandomState::new().build_hasher().finish();
    let recorder =
        settings.record.as_deref().map(|file| Recorder::start(file, &settings.pool, seed)).transpose()?;
    introduce(&generation, &sources, &listeners, metrics.as_ref());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| system_error("make the event loop", &error))?;
    let outcome = runtime.block_on(async {
        let (asker, questions) = mpsc::channel(status_server::QUESTIONS);
        if let Some(listener) = metrics {
            let socket = TcpListener::from(listener.into_socket());
            status_server::start(socket, asker.clone())
                .map_err(|error| system_error("serve the metrics", &error))?;
        }
        let signals = Signals::new().map_err(|error| system_error("watch for signals", &error))?;
        let workers =
            Workers::new(worker_program, listeners).map_err(|error| system_error("share memory", &error))?;
        let start =
            Start { began, sources, generation, workers, signals, questions, notifier, recorder, seed };
        // The sender stays alive, so that a run without metrics does not see a closed channel.
        let outcome = EventLoop::new(start).run().await;
        drop(asker);
        outcome
    });
    if let Some(pid_file) = pid_file {
        pid_file.remove();
    }
    outcome
}

fn surroundings() -> Expected<Surroundings> {
    let directory =
        std::env::current_dir().map_err(|error| system_error("find the working directory", &error))?;
    let text =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let variables = std::env::vars_os().filter_map(text).collect();
    let cores = std::thread::available_parallelism();
    let cores = cores.map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX));
    let stdout =
        if std::io::stdout().is_terminal() { StandardOutput::Terminal } else { StandardOutput::Elsewhere };
    Ok(Surroundings { variables, directory, cores, stdout, handed: Vec::new() })
}

fn system_error(what: &str, error: &std::io::Error) -> ExpectedError {
    ExpectedError::new("system", ExitStatus::OsError, format!("cannot {what}: {error}"))
}

/// The `worker` program beside this one, by a path read once: after an upgrade the link to ourselves says "(deleted)".
fn worker_program() -> Expected<PathBuf> {
    let own = std::env::current_exe().map_err(|error| system_error("find the supervise program", &error))?;
    let worker = own.with_file_name("worker");
    if worker.is_file() {
        return Ok(worker);
    }
    let message = format!("the program {} is not there", worker.display());
    Err(ExpectedError::new("worker/program", ExitStatus::OsError, message)
        .help("supervise needs the `worker` program beside it: build both by `cargo build --release`"))
}

/// Each connection is a descriptor, and the soft limit is a habit of old programs that use select().
fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!("the limit of open files stays at {soft}: {error}");
    }
}

fn listen(settings: &Settings, handed: Vec<HandedSocket>) -> Expected<Vec<Listener>> {
    let all: Vec<_> = settings.bind.iter().chain(&settings.insecure_bind).cloned().collect();
    let scheme = if settings.tls_files.is_some() { Scheme::Https } else { Scheme::Http };
    let access = Access::find(&settings.unix_socket)?;
    let bind = |address, scheme| Listener::bind(address, &all, scheme, access);
    let mut listeners: Vec<Listener> = match settings.sockets {
        SocketOrigin::Bound => {
            settings.bind.iter().map(|address| bind(address, scheme)).collect::<Expected<_>>()?
        }
        SocketOrigin::Handed => handed.into_iter().map(|socket| Listener::handed(socket, scheme)).collect(),
    };
    for address in &settings.insecure_bind {
        listeners.push(bind(address, Scheme::Http)?);
    }
    Ok(listeners)
}

fn bind_metrics(setting: &MetricsSetting) -> Expected<Option<Listener>> {
    match setting {
        MetricsSetting::Off => Ok(None),
        MetricsSetting::Explicit(address) => Listener::bind(address, &[], Scheme::Http, Access::default())
            .map(Some)
            .map_err(|error| ExpectedError {
                message: format!("metrics: {}", error.message),
                help: vec![
                    "stop it, or serve the metrics elsewhere: --metrics 127.0.0.1:0, or --metrics off"
                        .to_owned(),
                ],
                ..error
            }),
        MetricsSetting::Default(address) => {
            match Listener::bind(address, &[], Scheme::Http, Access::default()) {
                Ok(listener) => Ok(Some(listener)),
                Err(error) => {
                    tracing::warn!(
                        event = "metrics.off",
                        "metrics are off: {} (choose an address by --metrics)",
                        error.message
                    );
                    Ok(None)
                }
            }
        }
    }
}

fn introduce(generation: &Generation, sources: &Sources, listeners: &[Listener], metrics: Option<&Listener>) {
    let settings = &generation.settings;
    let (version, name, workers) =
        (env!("CARGO_PKG_VERSION"), &settings.application_name, settings.pool.workers);
    let s = if workers == 1 { "" } else { "s" };
    let class = match &settings.worker.application {
        Application::Python(python) => python.wsgi.worker_class,
        Application::Welcome | Application::Native { .. } | Application::Cgi(_) => WorkerClass::Async,
    };
    let class = match class {
        WorkerClass::Async => "async",
        WorkerClass::Threads => "threads",
        WorkerClass::Sync => "sync",
    };
    tracing::info!(
        event = "start",
        version,
        workers,
        pid = std::process::id(),
        "supervise {version}: {name} with {workers} {class} worker{s}"
    );
    let certificates = generation.certificates.as_ref().map_or(&[][..], Certificates::facts);
    for remark in settings.remarks.iter().chain(&certificates::remarks(certificates)) {
        tracing::warn!(event = "remark", "{remark}");
    }
    if settings.worker.application == Application::Welcome {
        match sources.candidates().as_slice() {
            [] => {}
            found => tracing::info!(event = "candidates", "applications in sight: {}", found.join(", ")),
        }
    }
    for listener in listeners {
        let url = listener.url();
        match listener.handed_as() {
            None => tracing::info!(event = "listening", url, "listening on {url}"),
            Some(name) => {
                tracing::info!(event = "listening", url, name, "listening on {url} (handed over: {name})");
            }
        }
    }
    if let Some(metrics) = metrics {
        let url = format!("{}/metrics", metrics.url());
        tracing::info!(event = "metrics", url, "metrics on {url}");
    }
}
