//! The life of a Python worker, from the interpreter's side: settle, import, start up, serve, shut down. One function for each
//! phase; every failure becomes one message, and Python's own traceback beside it.

use std::{
    cell::{Cell, OnceCell},
    fs::File,
    rc::Rc,
    time::{Duration, Instant},
};

use protocol::settings::{
    Application, EventLoop, Interface as InterfaceSetting, Lifespan as LifespanMode, PythonSettings,
    wsgi::WorkerClass,
};
use pyo3::{Bound, PyAny, PyErr, PyResult, Python, exceptions::PyImportError, prelude::PyAnyMethods};
use worker::{
    access_log::{self, is_record},
    access_log_writer::AccessLogWriter,
    inherited_sockets::{self, ControlPipes, Inherited, Listener},
    meter::WorkerMeter,
    supervision::{LoopPulse, Reporter},
    tls::ListenerSecurity,
};
use worker_server::AccessLog;

use crate::{
    access_logger::{Content, LoggerSink},
    asgi::{Lifespan, Shared, StartUp},
    departure::Orders,
    environment, evidence,
    failure::{self, Failure},
    host_loop,
    import::{self, Speaks},
    reactor::{Reactor, Watched},
    service_thread::{self, Boot},
    serving::Site,
    signals::{self, Supervised},
    wsgi,
};

/// What the shutdown gets at least, when the drain has used up the grace.
const SHORTEST_SHUTDOWN: Duration = Duration::from_millis(100);
/// What is kept, at most, of a worker's time to leave for what comes after the application's shutdown: one that hangs is told of before the
/// process is killed. Cancelling tasks and closing the loop take milliseconds.
const AFTER_SHUTDOWN: Duration = Duration::from_secs(1);

/// Serves until told to leave; returns the exit code. On the main thread.
pub(crate) fn main(py: Python<'_>) -> i32 {
    let mut inherited = match inherited_sockets::adopt() {
        Ok(inherited) => inherited,
        Err(error) => {
            let code = error.kind.exit_code();
            Failure::from(error).report(&Reporter::alone(), None);
            return code.into();
        }
    };
    worker::logging::start(&inherited.settings);
    let control = inherited.control.take();
    let listeners = std::mem::take(&mut inherited.listeners);
    let credentials = inherited.credentials.take();
    let (reporter, from_supervisor) = match control {
        Some(ControlPipes { from_supervisor, to_supervisor }) => {
            (Reporter::new(to_supervisor), Some(from_supervisor))
        }
        None => (Reporter::alone(), None),
    };
    let evidence = inherited.evidence_text.take().and_then(|memory| failure::open_evidence(memory).ok());
    let supervised = if from_supervisor.is_some() { Supervised::Yes } else { Supervised::No };
    let worker = Worker {
        inherited,
        reporter,
        evidence,
        supervised,
        orders: Orders::default(),
        boot: Boot::default(),
        access_log: Cell::new(None),
        log_writer: OnceCell::new(),
    };
    match worker.run(py, from_supervisor, listeners, credentials) {
        Ok(()) => 0,
        Err(failure) => {
            failure.report(&worker.reporter, worker.evidence.as_ref());
            failure.kind.exit_code().into()
        }
    }
}

struct Worker {
    inherited: Inherited,
    reporter: Reporter,
    evidence: Option<File>,
    supervised: Supervised,
    orders: Orders,
    boot: Boot,
    /// The access log, until the engine takes it, and the way to its file.
    access_log: Cell<Option<AccessLog>>,
    log_writer: OnceCell<AccessLogWriter>,
}

/// Where connections come in, and what they begin with.
struct Doors {
    listeners: Vec<Listener>,
    security: ListenerSecurity,
}

impl Worker {
    fn run(
        &self,
        py: Python<'_>,
        from_supervisor: Option<std::os::fd::OwnedFd>,
        listeners: Vec<Listener>,
        credentials: Option<std::os::fd::OwnedFd>,
    ) -> Result<(), Failure> {
        let Application::Python(python) = &self.inherited.settings.application else {
            return Err(Failure::boot("the settings name no Python application"));
        };
        let security = ListenerSecurity::new(self.inherited.settings.tls.as_ref(), credentials)?;
        let meter = WorkerMeter::new(self.inherited.scoreboard, self.inherited.evidence);
        self.open_access_log()?;
        self.say_hello(py)?;
        let pulse = self.start_service_thread(from_supervisor, &meter, &security)?;
        prepare(py, self, python)?;
        if let (Supervised::No, Some(writer)) = (self.supervised, self.log_writer.get()) {
            python_error(py, "cannot handle signals", signals::reopen_on_signal(py, writer.clone()))?;
        }
        let event_loop = match wants_event_loop(python) {
            Wanted::Yes => Some(event_loop(py, &python.event_loop)?),
            Wanted::No => None,
        };
        let doors = Doors { listeners, security };
        let loaded = import::load(py, python)?;
        self.boot.imported();
        self.reporter.loaded(&loaded.description);
        match (loaded.interface, event_loop) {
            (Speaks::Asgi, Some(event_loop)) => {
                self.run_asgi(python, &loaded.application, &event_loop, meter, pulse, doors)
            }
            (Speaks::Asgi, None) => Err(Failure::boot("an ASGI application needs an event loop")),
            (Speaks::Wsgi, event_loop) => {
                let forgotten = event_loop.map_or(Ok(()), |event_loop| forget_loop(&event_loop));
                python_error(py, "cannot close the event loop", forgotten)?;
                self.run_wsgi(python, &loaded.application, pulse, doors)
            }
        }
    }

    fn run_asgi(
        &self,
        python: &PythonSettings,
        application: &Bound<'_, PyAny>,
        event_loop: &Bound<'_, PyAny>,
        meter: WorkerMeter,
        pulse: Option<LoopPulse>,
        doors: Doors,
    ) -> Result<(), Failure> {
        let py = application.py();
        let reactor = Reactor::start().map_err(|error| Failure::boot(format!("no reactor: {error}")))?;
        python_error(py, "cannot use the event loop", host_loop::attach(reactor, event_loop))?;
        answer_pulse(reactor, pulse)?;
        let mut lifespan = start_up(python.lifespan, application, event_loop)?;
        let shared =
            Shared::new(event_loop, application, lifespan.state(py), &python.asgi, meter.clone(), reactor);
        let shared = python_error(py, "cannot prepare for requests", shared)?;
        let over_by = self.serve(event_loop, reactor, doors, meter, shared)?;
        self.finish_access_log(py);
        shut_down(py, &mut lifespan, event_loop, over_by);
        Ok(())
    }

    fn run_wsgi(
        &self,
        python: &PythonSettings,
        application: &Bound<'_, PyAny>,
        pulse: Option<LoopPulse>,
        doors: Doors,
    ) -> Result<(), Failure> {
        let py = application.py();
        let settings = &self.inherited.settings;
        if settings.websocket != protocol::defaults::WEBSOCKET {
            tracing::warn!("the --ws options have no effect: a WSGI application speaks no WebSocket");
        }
        let grace = Duration::from_millis(settings.graceful_timeout_ms);
        let handlers = signals::leave_on_plain_signals(py, self.supervised, &self.orders, grace);
        python_error(py, "cannot handle signals", handlers)?;
        let ground = wsgi::Ground {
            listeners: doors.listeners,
            security: doors.security,
            scoreboard: self.inherited.scoreboard,
            evidence: self.inherited.evidence,
            http: settings.http.clone(),
            access_log: self.access_log.take(),
            policy: worker::policy::policy(settings),
            reporter: self.reporter.clone(),
            orders: self.orders.clone(),
            pulse,
            request_buffer_bytes: usize::try_from(python.wsgi.request_buffer_bytes).unwrap_or(usize::MAX),
        };
        let over_by = wsgi::serve(application, ground, python)?;
        self.finish_access_log(py);
        let time_left = over_by.saturating_duration_since(Instant::now()).max(SHORTEST_SHUTDOWN);
        // From here on the application's threads and its exit functions may take their time, within the grace.
        service_thread::leave_after(time_left, 0);
        if let Err(error) = flush_output(py) {
            log_error(py, "Output could not be flushed", error);
        }
        Ok(())
    }

    fn say_hello(&self, py: Python<'_>) -> Result<(), Failure> {
        python_error(py, "cannot set signals", signals::ignore_terminal(py, self.supervised))?;
        let signal = self.evidence.as_ref().map(|evidence| evidence::write_stacks_to(py, evidence));
        let signal = python_error(py, "cannot set up stack dumps", signal.transpose())?;
        let sys = python_error(py, "no sys module", py.import("sys"))?;
        let version = Python::version_str().split(' ').next().unwrap_or_default().to_owned();
        let program = sys.getattr("executable").and_then(|path| path.extract::<String>()).unwrap_or_default();
        self.reporter.hello(&format!("CPython {version} ({program})"), signal);
        Ok(())
    }

    fn open_access_log(&self) -> Result<(), Failure> {
        let Some(settings) = &self.inherited.settings.access_log else { return Ok(()) };
        let content = if is_record(&settings.format) { Content::Record } else { Content::Line };
        let logger = |name: &str| Some(LoggerSink::new(name, content));
        let (log, writer) = access_log::open(settings, self.inherited.scoreboard.own(), logger)?;
        let _first = self.log_writer.set(writer);
        self.access_log.set(Some(log));
        Ok(())
    }

    /// No request is left: the last lines are written.
    fn finish_access_log(&self, py: Python<'_>) {
        if let Some(writer) = self.log_writer.get() {
            // A logger's lines need the interpreter.
            py.detach(|| writer.finish(access_log::FINISH_TIMEOUT));
        }
    }

    fn start_service_thread(
        &self,
        from_supervisor: Option<std::os::fd::OwnedFd>,
        meter: &WorkerMeter,
        security: &ListenerSecurity,
    ) -> Result<Option<LoopPulse>, Failure> {
        let Some(from_supervisor) = from_supervisor else { return Ok(None) };
        let failed = |error: std::io::Error| Failure::boot(format!("no service thread: {error}"));
        let pulse = LoopPulse::new().map_err(failed)?;
        let service = service_thread::Service {
            from_supervisor,
            reporter: self.reporter.clone(),
            heartbeat_interval: Duration::from_millis(self.inherited.settings.heartbeat_interval_ms),
            pulse: pulse.clone(),
            gauge: meter.load_gauge(),
            orders: self.orders.clone(),
            security: security.clone(),
            boot: self.boot.clone(),
            log_writer: self.log_writer.get().cloned(),
        };
        service_thread::start(service).map_err(failed)?;
        Ok(Some(pulse))
    }

    /// Serves until the drain is over. Gives the moment by which the rest must be over too.
    fn serve(
        &self,
        event_loop: &Bound<'_, PyAny>,
        reactor: &'static Reactor,
        doors: Doors,
        meter: WorkerMeter,
        shared: Rc<Shared>,
    ) -> Result<Instant, Failure> {
        let py = event_loop.py();
        let settings = &self.inherited.settings;
        let grace = Duration::from_millis(settings.graceful_timeout_ms);
        let handlers = signals::leave_on_signals(event_loop, self.supervised, &self.orders, grace);
        python_error(py, "cannot handle signals", handlers)?;
        let refused = |error: std::io::Error| Failure::boot(format!("cannot watch the sockets: {error}"));
        let left = Rc::new(Cell::new(None));
        let site = Site {
            reactor,
            listeners: doors.listeners,
            security: doors.security,
            scoreboard: self.inherited.scoreboard,
            meter,
            http: settings.http.clone(),
            websocket: Some(settings.websocket.clone()),
            policy: worker::policy::policy(settings),
            application: shared,
            access_log: self.access_log.take(),
            reporter: self.reporter.clone(),
            orders: self.orders.clone(),
        };
        let (over_by, event_loop_to_stop) = (Rc::clone(&left), event_loop.clone().unbind());
        let leave = move |moment| {
            over_by.set(Some(moment));
            Python::attach(|py| {
                if let Err(error) = event_loop_to_stop.call_method0(py, "stop") {
                    error.write_unraisable(py, None);
                }
            });
        };
        site.open(leave).map_err(refused)?;
        loop {
            let ran = event_loop.call_method0("run_forever");
            if let Some(over_by) = left.get() {
                return Ok(over_by);
            }
            if let Err(error) = ran {
                // SystemExit and KeyboardInterrupt out of a callback of the application stop the loop, not the worker.
                return Err(Failure::serving(py, "the event loop ended", error));
            }
            // The application stopped the loop; it is not the application's to stop.
        }
    }
}

fn python_error<T>(py: Python<'_>, what: &str, result: PyResult<T>) -> Result<T, Failure> {
    result.map_err(|error| Failure::boot_with_traceback(py, what, error))
}

/// What must be in place before the application is imported.
fn prepare(py: Python<'_>, worker: &Worker, python: &PythonSettings) -> Result<(), Failure> {
    python_error(py, "cannot clean the environment", environment::hide_inherited(py))?;
    python_error(py, "cannot set sys.path", import::extend_search_path(py, &python.app_dir))?;
    if let Some(path) = &python.env_file {
        environment::load_env_file(py, path)?;
    }
    environment::configure_logging(py, python.log_config.as_deref(), &worker.inherited.settings)
}

/// Whether there must be an event loop before the import: an application that makes futures or locks then expects one.
enum Wanted {
    Yes,
    /// What is imported cannot be ASGI, or will be refused.
    No,
}

fn wants_event_loop(python: &PythonSettings) -> Wanted {
    match (python.interface, python.wsgi.worker_class) {
        (InterfaceSetting::Wsgi, _) | (_, WorkerClass::Sync | WorkerClass::Threads) => Wanted::No,
        (InterfaceSetting::Auto | InterfaceSetting::Asgi3 | InterfaceSetting::Asgi2, WorkerClass::Async) => {
            Wanted::Yes
        }
    }
}

/// Takes a loop away that was made before it was known that nobody needs it.
fn forget_loop(event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = event_loop.py();
    py.import("asyncio")?.call_method1("set_event_loop", (py.None(),))?;
    event_loop.call_method0("close")?;
    Ok(())
}

/// The loop that was asked for; the thread's own from now on, so that the application's import finds it.
fn event_loop<'py>(py: Python<'py>, choice: &EventLoop) -> Result<Bound<'py, PyAny>, Failure> {
    let make = || -> PyResult<Bound<'py, PyAny>> {
        let factory = match choice {
            EventLoop::Asyncio => py.import("asyncio")?.getattr("new_event_loop")?,
            EventLoop::Uvloop => py.import("uvloop")?.getattr("new_event_loop")?,
            EventLoop::Auto => match py.import("uvloop") {
                Ok(uvloop) => uvloop.getattr("new_event_loop")?,
                Err(error) if error.is_instance_of::<PyImportError>(py) => {
                    py.import("asyncio")?.getattr("new_event_loop")?
                }
                Err(error) => return Err(error),
            },
            EventLoop::Factory(target) => {
                let (module, attribute) = target.split_once(':').unwrap_or((target, "new_event_loop"));
                py.import(module)?.getattr(attribute)?
            }
        };
        let event_loop = factory.call0()?;
        py.import("asyncio")?.call_method1("set_event_loop", (&event_loop,))?;
        Ok(event_loop)
    };
    make().map_err(|error| match choice {
        EventLoop::Uvloop if error.is_instance_of::<PyImportError>(py) => Failure::boot(
            "--loop uvloop was asked for but uvloop is not installed in this Python: `pip install uvloop`, or leave --loop away",
        ),
        EventLoop::Factory(target) => {
            Failure::boot_with_traceback(py, &format!("--loop {target} makes no event loop"), error)
        }
        EventLoop::Uvloop | EventLoop::Auto | EventLoop::Asyncio => {
            Failure::boot_with_traceback(py, "cannot make an event loop", error)
        }
    })
}

/// Answers the service thread's pokes in the loop: the proof that it is not stuck.
pub(crate) fn answer_pulse(reactor: &'static Reactor, pulse: Option<LoopPulse>) -> Result<(), Failure> {
    let Some(pulse) = pulse else { return Ok(()) };
    let refused = |error: std::io::Error| Failure::boot(format!("cannot watch the service thread: {error}"));
    let descriptor = pulse.descriptor().try_clone_to_owned().map_err(refused)?;
    let poked = Watched::new(reactor, descriptor).map_err(refused)?;
    reactor.spawn(async move {
        loop {
            std::future::poll_fn(|context| poked.poll_readable(context)).await;
            pulse.answer_poke();
        }
    });
    Ok(())
}

fn start_up(
    mode: LifespanMode,
    application: &Bound<'_, PyAny>,
    event_loop: &Bound<'_, PyAny>,
) -> Result<Lifespan, Failure> {
    let py = application.py();
    let mut lifespan =
        python_error(py, "cannot prepare the lifespan", Lifespan::new(mode, application, event_loop))?;
    let outcome = lifespan.start(mode, event_loop);
    match python_error(py, "the application's start-up was interrupted", outcome)? {
        StartUp::Complete => Ok(lifespan),
        StartUp::Refused(message) => {
            let last = message.trim_end().lines().last().unwrap_or("it gave no reason").to_owned();
            let mut failure = Failure::boot(format!("the application's start-up failed: {last}"));
            failure.traceback = (message.lines().count() > 1).then_some(message);
            Err(failure)
        }
        StartUp::Raised(error) => {
            Err(Failure::boot_with_traceback(py, "the application's start-up failed", error))
        }
        StartUp::Unfinished => Err(Failure::boot(
            "the application ended its lifespan without completing the start-up (--lifespan off skips it)",
        )),
    }
}

/// After the drain: the application's shutdown, then what it left behind. Nothing here fails the worker any more.
fn shut_down(py: Python<'_>, lifespan: &mut Lifespan, event_loop: &Bound<'_, PyAny>, over_by: Instant) {
    let time_left = || over_by.saturating_duration_since(Instant::now()).max(SHORTEST_SHUTDOWN).as_secs_f64();
    let complain = |what: &str, result: PyResult<()>| {
        if let Err(error) = result {
            log_error(py, what, error);
        }
    };
    let for_shutdown = time_left() - (time_left() / 5.0).min(AFTER_SHUTDOWN.as_secs_f64());
    complain("The application's shutdown failed", lifespan.stop(event_loop, for_shutdown));
    complain("Tasks could not be cancelled", lifespan.cancel_all(event_loop, time_left()));
    complain("Asynchronous generators could not be closed", close_generators(event_loop, time_left()));
    complain("Output could not be flushed", flush_output(py));
    // What is left waits for the application's threads, and so does the interpreter's own end: without a bound.
    service_thread::leave_after(Duration::from_secs_f64(time_left()), 0);
    complain("The event loop could not be closed", close_loop(event_loop));
}

fn flush_output(py: Python<'_>) -> PyResult<()> {
    let sys = py.import("sys")?;
    for name in ["stdout", "stderr"] {
        let stream = sys.getattr(name)?;
        if !stream.is_none() {
            stream.call_method0("flush")?;
        }
    }
    Ok(())
}

fn log_error(py: Python<'_>, what: &str, error: PyErr) {
    let log = || -> PyResult<()> {
        let logger = py.import("logging")?.call_method1("getLogger", ("supervise.error",))?;
        let keywords = pyo3::types::PyDict::new(py);
        pyo3::types::PyDictMethods::set_item(&keywords, "exc_info", error.into_value(py))?;
        logger.call_method("error", (what,), Some(&keywords))?;
        Ok(())
    };
    if let Err(failure) = log() {
        failure.write_unraisable(py, None);
    }
}

fn close_generators(event_loop: &Bound<'_, PyAny>, timeout_s: f64) -> PyResult<()> {
    let wait_for = event_loop.py().import("asyncio")?.getattr("wait_for")?;
    let closing = event_loop.call_method0("shutdown_asyncgens")?;
    event_loop.call_method1("run_until_complete", (wait_for.call1((closing, timeout_s))?,))?;
    Ok(())
}

fn close_loop(event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
    let ending = event_loop.call_method0("shutdown_default_executor")?;
    event_loop.call_method1("run_until_complete", (ending,))?;
    event_loop.call_method0("close")?;
    Ok(())
}
