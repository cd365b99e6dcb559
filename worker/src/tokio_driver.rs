//! Drives the engine on tokio, for applications that need no foreign runtime: one current-thread runtime that accepts, serves,
//! speaks with the supervisor and leaves in good order. Knows no protocol and no application.

mod acceptor;
mod departure;
pub(crate) mod stream;

use std::{future::Future, process::ExitCode, rc::Rc, time::Duration};

use hyper_util::rt::TokioTimer;
use nix::time::{ClockId, clock_gettime};
use protocol::ToWorker;
use tokio::{
    runtime::{Builder, LocalOptions, LocalRuntime},
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use worker_server::{AccessLog, App, Clock, Drain, Service};

use self::{
    acceptor::Acceptors,
    departure::{Departure, Notices},
};
use crate::{
    access_log,
    access_log_writer::{AccessLogWriter, FileSink},
    error::{StartError, StartErrorKind},
    fair_accept::BusyMark,
    farewell,
    inherited_sockets::{ControlPipes, Inherited},
    limits::limits,
    meter::{LoadGauge, WorkerMeter},
    policy::policy,
    supervision::{self, OwnLoop, Reporter},
    tls::ListenerSecurity,
};

/// Serves until told to leave. `application` is what the supervisor is told; `start` makes the application, inside the runtime.
pub(crate) fn run<A: App, F: Future<Output = Result<A, StartError>>>(
    mut inherited: Inherited,
    application: &str,
    start: impl FnOnce(WorkerMeter) -> F,
) -> ExitCode {
    let control = inherited.control.take();
    let evidence_text = inherited.evidence_text.take();
    let (reporter, orders) = match control {
        Some(ControlPipes { from_supervisor, to_supervisor }) => {
            (Reporter::new(to_supervisor), Some(from_supervisor))
        }
        None => (Reporter::alone(), None),
    };
    let served = runtime(&inherited).and_then(|runtime| {
        let worker = Worker { inherited, reporter: reporter.clone(), application: application.to_owned() };
        let served = runtime.block_on(worker.serve(orders, start));
        // A blocking task of the application must not hold up the exit: its grace is over.
        runtime.shutdown_background();
        served
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => farewell::report(&error, &reporter, evidence_text),
    }
}

fn runtime(inherited: &Inherited) -> Result<LocalRuntime, StartError> {
    let mark = BusyMark::new(inherited.scoreboard);
    Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .on_thread_park(move || mark.waiting())
        .on_thread_unpark(move || mark.running())
        .build_local(LocalOptions::default())
        .map_err(|error| StartError::new(StartErrorKind::Os, format!("cannot start the event loop: {error}")))
}

struct Worker {
    inherited: Inherited,
    reporter: Reporter,
    application: String,
}

impl Worker {
    async fn serve<A: App, F: Future<Output = Result<A, StartError>>>(
        self,
        orders: Option<std::os::fd::OwnedFd>,
        start: impl FnOnce(WorkerMeter) -> F,
    ) -> Result<(), StartError> {
        let Self { mut inherited, reporter, application } = self;
        let credentials = inherited.credentials.take();
        let settings = &inherited.settings;
        let security = ListenerSecurity::new(settings.tls.as_ref(), credentials)?;
        let meter = WorkerMeter::new(inherited.scoreboard, inherited.evidence);
        let (access_log, log_writer) = open_access_log(&inherited)?.unzip();
        let mut notices = Notices::listen(settings.graceful_timeout_ms, orders.is_some())?;
        reporter.hello("native", None);
        match orders {
            Some(orders) => {
                let desk = OrderDesk {
                    notify: notices.sender(),
                    log_writer: log_writer.clone(),
                    security: security.clone(),
                };
                let interval = Duration::from_millis(settings.heartbeat_interval_ms);
                attend_supervisor(orders, reporter.clone(), interval, meter.load_gauge(), desk)?;
            }
            None => reopen_on_signal(log_writer.clone())?,
        }
        reporter.loaded(&application);
        let app = tokio::select! {
            app = start(meter.clone()) => Rc::new(app?),
            _departure = notices.next() => return Ok(()),
        };
        let service = Service::new(
            limits(&settings.http),
            policy(settings),
            Rc::new(meter),
            SystemClock,
            TokioTimer::new(),
            Drain::new(),
        );
        if let Some(access_log) = access_log {
            service.log_access(access_log);
        }
        let acceptors = Acceptors::start(&inherited, &security, &app, &service)?;
        drop(inherited.listeners);
        reporter.ready();
        let departure = notices.next().await;
        reporter.draining();
        acceptors.stop().await;
        let linger = Duration::from_millis(settings.http.drain_linger_ms);
        departure.drain(service.drain(), linger, &mut notices).await;
        if let Some(log_writer) = log_writer {
            log_writer.finish(access_log::FINISH_TIMEOUT);
        }
        Ok(())
    }
}

fn open_access_log(inherited: &Inherited) -> Result<Option<(AccessLog, AccessLogWriter)>, StartError> {
    let no_python = |_: &str| None::<FileSink>;
    let settings = inherited.settings.access_log.as_ref();
    settings.map(|settings| access_log::open(settings, inherited.scoreboard.own(), no_python)).transpose()
}

/// Where orders go.
struct OrderDesk {
    notify: mpsc::UnboundedSender<Departure>,
    log_writer: Option<AccessLogWriter>,
    security: ListenerSecurity,
}

impl OrderDesk {
    fn obey(&self, order: ToWorker) {
        match order {
            ToWorker::Drain { grace_ms } => {
                // Nobody listens any more once the worker has left its last turn.
                let _gone = self.notify.send(Departure::Drain { grace: Duration::from_millis(grace_ms) });
            }
            ToWorker::ReloadCertificates => self.security.renew(),
            ToWorker::ReopenLogs => {
                if let Some(log_writer) = &self.log_writer {
                    log_writer.reopen();
                }
            }
        }
    }
}

/// A worker alone is told by USR1 itself.
fn reopen_on_signal(log_writer: Option<AccessLogWriter>) -> Result<(), StartError> {
    let Some(log_writer) = log_writer else { return Ok(()) };
    let mut signals = signal(SignalKind::user_defined1())
        .map_err(|error| StartError::new(StartErrorKind::Os, format!("cannot take signals: {error}")))?;
    tokio::task::spawn_local(async move {
        while let Some(()) = signals.recv().await {
            log_writer.reopen();
        }
    });
    Ok(())
}

fn attend_supervisor(
    orders: std::os::fd::OwnedFd,
    reporter: Reporter,
    interval: Duration,
    gauge: LoadGauge,
    desk: OrderDesk,
) -> Result<(), StartError> {
    use std::os::fd::AsFd;
    supervision::kill_when_orphaned(orders.as_fd()).map_err(|error| {
        StartError::new(StartErrorKind::Os, format!("cannot watch the supervisor: {error}"))
    })?;
    tokio::task::spawn_local(async move {
        let obey = |order| desk.obey(order);
        let end = supervision::attend(orders, &reporter, interval, &OwnLoop, || gauge.load(), obey).await;
        if let supervision::ChannelEnd::Garbled(error) = &end {
            tracing::error!(%error, "the supervisor speaks another language; leaving");
        }
        let _gone = desk.notify.send(Departure::Orphaned);
    });
    Ok(())
}

/// The system's clocks. The wall clock is the coarse one: whole seconds do not need a better.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> std::time::Instant {
        std::time::Instant::now()
    }

    fn unix_seconds(&self) -> u64 {
        clock_gettime(ClockId::CLOCK_REALTIME_COARSE)
            .map_or(0, |now| u64::try_from(now.tv_sec()).unwrap_or(0))
    }
}
