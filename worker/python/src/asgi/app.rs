//! The engine's view of an ASGI application: one [`AsgiApp`] a connection, over what all connections share.

use std::{
    cell::{OnceCell, RefCell},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use protocol::settings::{AsgiSettings, OnDisconnect};
use pyo3::{Bound, Py, PyAny, PyErr, PyResult, Python, exceptions::PyMemoryError, prelude::PyAnyMethods};
use slab::Slab;
use worker::meter::WorkerMeter;
use worker_server::{App, ConnectionInfo, Exchange, RequestHead, WebSocket};

use super::{
    channel::{self, Channel, Undone},
    known,
    run::{self, Run},
    scope::ScopeBuilder,
    start::{FirstStep, TaskStarter},
    tls, wait, websocket,
};
use crate::{
    object::{Bytes, Owned},
    reactor::Reactor,
    serving::Served,
};

/// What all connections share.
pub(crate) struct Shared {
    pub(super) application: Owned,
    pub(super) tasks: Suspended,
    scopes: ScopeBuilder,
    starter: TaskStarter,
    /// Bound method `logging.getLogger("supervise.error").error`.
    log_error: Py<PyAny>,
    cancelled_error: Py<PyAny>,
    on_disconnect: OnDisconnect,
    meter: WorkerMeter,
    reactor: &'static Reactor,
}

impl Shared {
    /// Prepares everything that a request needs. Called once, after the application's start-up, on the loop's thread: the
    /// context of this moment is what every request starts in.
    pub(crate) fn new(
        event_loop: &Bound<'_, PyAny>,
        application: &Bound<'_, PyAny>,
        state: &Bound<'_, PyAny>,
        settings: &AsgiSettings,
        meter: WorkerMeter,
        reactor: &'static Reactor,
    ) -> PyResult<Rc<Self>> {
        let py = event_loop.py();
        let fetched = || PyErr::fetch(py);
        known::prepare(settings.spec_version).ok_or_else(fetched)?;
        if !(wait::make_types() && run::make_type()) {
            return Err(fetched());
        }
        channel::prepare(event_loop.getattr("create_future")?.into()).ok_or_else(fetched)?;
        let logger = py.import("logging")?.call_method1("getLogger", ("supervise.error",))?;
        Ok(Rc::new(Self {
            application: application.clone().into(),
            tasks: Suspended::default(),
            scopes: ScopeBuilder::new(state.clone().into(), settings),
            starter: TaskStarter::new(event_loop, settings.context_variables)?,
            log_error: logger.getattr("error")?.unbind(),
            cancelled_error: py.import("asyncio")?.getattr("CancelledError")?.unbind(),
            on_disconnect: settings.on_disconnect,
            meter,
            reactor,
        }))
    }

    pub(super) fn is_cancellation(&self, py: Python<'_>, error: &PyErr) -> bool {
        error.matches(py, self.cancelled_error.bind(py)).unwrap_or(false)
    }

    /// An exception that the application let through.
    pub(super) fn report_exception(&self, py: Python<'_>, error: PyErr) {
        self.meter.application_failed();
        self.log(py, "Exception in ASGI application", Some(error));
    }

    /// The application returned before its reply was complete.
    pub(super) fn report_undone(&self, undone: Undone) {
        self.meter.application_failed();
        let message = match undone {
            Undone::Body => "The ASGI application returned without completing its response",
            Undone::Response => "The ASGI application returned without starting a response",
            Undone::Handshake => "The ASGI application returned without accepting or denying a WebSocket",
        };
        Python::attach(|py| self.log(py, message, None));
    }

    /// A request that the exception which is set kept from the application.
    fn report_stillborn(&self) {
        Python::attach(|py| {
            let error = PyErr::take(py).unwrap_or_else(|| PyMemoryError::new_err(()));
            self.log(py, "A request could not be started", Some(error));
        });
    }

    fn log(&self, py: Python<'_>, message: &str, error: Option<PyErr>) {
        let keywords = pyo3::types::PyDict::new(py);
        let logged = error
            .map_or(Ok(()), |error| keywords.set_item("exc_info", error.into_value(py)))
            .and_then(|()| self.log_error.bind(py).call((message,), Some(&keywords)));
        if let Err(failure) = logged {
            failure.write_unraisable(py, None);
        }
    }
}

impl Served for Rc<Shared> {
    type App = AsgiApp;

    fn of_connection(&self) -> Rc<AsgiApp> {
        Rc::new(AsgiApp::new(Self::clone(self)))
    }

    fn poll_idle(&self, context: &Context<'_>) -> Poll<()> {
        if self.tasks.tasks.borrow().is_empty() {
            return Poll::Ready(());
        }
        self.tasks.when_gone.replace(Some(context.waker().clone()));
        Poll::Pending
    }

    /// Cancels the tasks of all requests that are still running.
    fn cut(&self) {
        Python::attach(|py| {
            for task in self.tasks.all() {
                if let Err(error) = task.bound(py).call_method0("cancel") {
                    error.write_unraisable(py, None);
                }
            }
        });
    }
}

/// Tasks of requests that wait for something. The loop holds tasks only weakly.
#[derive(Default)]
pub(super) struct Suspended {
    tasks: RefCell<Slab<Owned>>,
    when_gone: RefCell<Option<Waker>>,
}

impl Suspended {
    fn insert(&self, task: Owned) -> usize {
        self.tasks.borrow_mut().insert(task)
    }

    pub(super) fn remove(&self, place: usize) {
        let mut tasks = self.tasks.borrow_mut();
        let task = tasks.try_remove(place);
        let waker = tasks.is_empty().then(|| self.when_gone.take()).flatten();
        drop(tasks);
        if let Some(waker) = waker {
            waker.wake();
        }
        // After the borrow: the end of a task may run anything.
        drop(task);
    }

    fn all(&self) -> Vec<Owned> {
        self.tasks.borrow().iter().map(|(_, task)| task.clone()).collect()
    }
}

/// The application as one connection calls it.
pub(crate) struct AsgiApp {
    shared: Rc<Shared>,
    /// What all scopes of this connection have in common.
    template: OnceCell<Owned>,
    /// The extension `tls`, where the connection has it.
    tls: OnceCell<Owned>,
    /// The path that stands in the template.
    path: RefCell<Vec<u8>>,
}

impl AsgiApp {
    /// For one connection.
    fn new(shared: Rc<Shared>) -> Self {
        Self { shared, template: OnceCell::new(), tls: OnceCell::new(), path: RefCell::default() }
    }

    fn begin(&self, head: &RequestHead<'_>, exchange: Exchange<Bytes>) -> Option<()> {
        let template = self.prepared_template(head)?;
        let scope = self.shared.scopes.scope(template, self.tls.get(), head)?;
        let channel = Channel::object(exchange)?;
        let watched = match self.shared.on_disconnect {
            OnDisconnect::Inform => None,
            OnDisconnect::Cancel => Some(channel.clone()),
        };
        self.run(scope, channel, watched)
    }

    fn begin_websocket(&self, head: &RequestHead<'_>, socket: WebSocket<Bytes>) -> Option<()> {
        let template = self.prepared_template(head)?;
        let scope =
            self.shared.scopes.websocket_scope(template, self.tls.get(), head, socket.subprotocols())?;
        self.run(scope, Channel::websocket_object(websocket::Link::new(socket))?, None)
    }

    /// The template, with the request's path in it.
    fn prepared_template(&self, head: &RequestHead<'_>) -> Option<&Owned> {
        let template = self.template(head.connection)?;
        if *self.path.borrow() != head.path {
            self.shared.scopes.set_path(template, head.path)?;
            let mut path = self.path.borrow_mut();
            path.clear();
            path.extend_from_slice(head.path);
        }
        Some(template)
    }

    /// Runs the application; a task that outlives its first step is cancelled when the client of `watched` leaves.
    fn run(&self, scope: Owned, channel: Owned, watched: Option<Owned>) -> Option<()> {
        let run = Run::object(Rc::clone(&self.shared), scope, channel)?;
        if let FirstStep::Suspended(task) = self.shared.starter.start(&run)? {
            let run = Run::of(&run);
            if !run.is_over() {
                if let Some(channel) = watched {
                    Channel::cancel_with_client(&channel, task.clone(), self.shared.reactor);
                }
                run.set_registration(self.shared.tasks.insert(task));
            }
        }
        Some(())
    }

    fn template(&self, connection: &ConnectionInfo) -> Option<&Owned> {
        if self.template.get().is_none() {
            let _ = self.template.set(self.shared.scopes.template(connection)?);
            if let Some(info) = &connection.tls {
                let _ = self.tls.set(tls::extension(info)?);
            }
        }
        self.template.get()
    }
}

impl App for AsgiApp {
    type Chunk = Bytes;

    fn call(&self, head: &RequestHead<'_>, exchange: Exchange<Bytes>) {
        let begun = self.begin(head, exchange.clone());
        if begun.is_none() {
            exchange.fail();
            self.shared.report_stillborn();
        }
        // The application ran: the next request of this turn begins later than this one did.
        self.shared.reactor.read_clock();
    }

    fn websocket(&self, head: &RequestHead<'_>, socket: WebSocket<Bytes>) {
        // A socket that is dropped answers 500.
        if self.begin_websocket(head, socket).is_none() {
            self.shared.report_stillborn();
        }
        self.shared.reactor.read_clock();
    }
}
