//! One connection: a future that reads requests, calls the app and writes replies until the connection is closed.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use hyper::rt::{Read, Write};

use crate::{App, ConnectionInfo, Service};

/// One connection. Poll it until it is ready: then the connection is closed and everything about it was counted.
///
/// A client that closes its sending side while a request is in flight counts as gone, as most servers see it. Dropping the
/// future breaks the connection off.
#[expect(missing_debug_implementations, reason = "not yet")]
pub struct Connection<Io, A: App> {
    io: Io,
    info: Rc<ConnectionInfo>,
    app: Rc<A>,
    service: Rc<Service>,
}

impl<Io: Read + Write + Unpin, A: App> Connection<Io, A> {
    /// Takes over a connection that was just accepted.
    pub fn new(io: Io, info: Rc<ConnectionInfo>, app: Rc<A>, service: Rc<Service>) -> Self {
        Self { io, info, app, service }
    }
}

impl<Io: Read + Write + Unpin, A: App> Future for Connection<Io, A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let _ = (context, &self.io, &self.info, &self.app, &self.service);
        todo!()
    }
}

impl<Io: Unpin, A: App> Unpin for Connection<Io, A> {}
