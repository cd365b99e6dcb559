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
    sync::mpsc,
};
use worker_server::{App, Clock, Drain, Service};

use self::{
    acceptor::Acceptors,
    departure::{Departure, Notices},
};
use crate::{
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
        let mut notices = Notices::listen(settings.graceful_timeout_ms, orders.is_some())?;
        reporter.hello("native", None);
        if let Some(orders) = orders {
            let interval = Duration::from_millis(settings.heartbeat_interval_ms);
            attend_supervisor(
                orders,
                reporter.clone(),
                interval,
                meter.load_gauge(),
                notices.sender(),
                security.clone(),
            )?;
        }
        reporter.loaded(&application);
        let app = tokio::select! {
            app = start(meter.clone()) => Rc::new(app?),
            _departure = notices.next() => return Ok(()),
        };
        let service = Service::new(
            limits(&settings.http),
            policy(&settings.forwarding),
            Rc::new(meter),
            SystemClock,
            TokioTimer::new(),
            Drain::new(),
        );
        let acceptors = Acceptors::start(&inherited, &security, &app, &service)?;
        drop(inherited.listeners);
        reporter.ready();
        let departure = notices.next().await;
        reporter.draining();
        acceptors.stop().await;
        let linger = Duration::from_millis(settings.http.drain_linger_ms);
        departure.drain(service.drain(), linger, &mut notices).await;
        Ok(())
    }
}

fn attend_supervisor(
    orders: std::os::fd::OwnedFd,
    reporter: Reporter,
    interval: Duration,
    gauge: LoadGauge,
    notify: mpsc::UnboundedSender<Departure>,
    security: ListenerSecurity,
) -> Result<(), StartError> {
    use std::os::fd::AsFd;
    supervision::kill_when_orphaned(orders.as_fd()).map_err(|error| {
        StartError::new(StartErrorKind::Os, format!("cannot watch the supervisor: {error}"))
    })?;
    tokio::task::spawn_local(async move {
        let obey = |order| match order {
            ToWorker::Drain { grace_ms } => {
                // Nobody listens any more once the worker has left its last turn.
                let _gone = notify.send(Departure::Drain { grace: Duration::from_millis(grace_ms) });
            }
            ToWorker::ReloadCertificates => security.renew(),
        };
        let end = supervision::attend(orders, &reporter, interval, &OwnLoop, || gauge.load(), obey).await;
        if let supervision::ChannelEnd::Garbled(error) = &end {
            tracing::error!(%error, "the supervisor speaks another language; leaving");
        }
        let _gone = notify.send(Departure::Orphaned);
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
