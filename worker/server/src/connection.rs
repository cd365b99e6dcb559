//! One connection from its accept to its close, through whatever it speaks on the way. Knows which protocol has the connection
//! now and hands it from one to the next; what a protocol says is the business of the modules below.

mod http1;

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use self::http1::Http1;
use crate::{App, ConnectionInfo, Service, Transport};

/// One connection. Poll it until it is ready: then the connection is closed and everything about it was counted.
///
/// Dropping the future breaks the connection off.
pub struct Connection<Io, A: App> {
    stage: Stage<Io, A>,
    service: Rc<Service>,
}

/// Who has the connection now.
enum Stage<Io, A: App> {
    Http1(Http1<Io, A>),
}

impl<Io, A: App> std::fmt::Debug for Connection<Io, A> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Stage::Http1(http1) = &self.stage;
        formatter.debug_tuple("Connection").field(http1).finish()
    }
}

impl<Io: Transport, A: App> Connection<Io, A> {
    /// Takes over a connection that was just accepted.
    pub fn new(io: Io, info: Rc<ConnectionInfo>, app: Rc<A>, service: Rc<Service>) -> Self {
        service.meter.connection_opened();
        Self { stage: Stage::Http1(Http1::new(io, info, app, Rc::clone(&service))), service }
    }
}

impl<Io: Transport, A: App> Future for Connection<Io, A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.get_mut().stage {
            Stage::Http1(http1) => http1.poll(context),
        }
    }
}

impl<Io, A: App> Drop for Connection<Io, A> {
    fn drop(&mut self) {
        self.service.meter.connection_closed();
    }
}

impl<Io, A: App> Unpin for Connection<Io, A> {}
