//! One connection from its accept to its close, through whatever it speaks on the way. Knows which protocol has the connection
//! now and hands it from one to the next; what a protocol says is the business of the modules below.

mod handover;
mod http1;
mod http2;
pub(crate) mod websocket;

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use self::{
    handover::{Handover, NextStage, StageEnd},
    http1::Http1,
    http2::Http2,
    websocket::WebSocketStage,
};
use crate::{App, ConnectionInfo, Service, Transport};

/// One connection. Poll it until it is ready: then the connection is closed and everything about it was counted.
///
/// Dropping the future breaks the connection off.
pub struct Connection<Io, A: App> {
    stage: Stage<Io, A>,
    service: Rc<Service>,
}

/// Who has the connection now.
#[expect(
    clippy::large_enum_variant,
    reason = "most connections are HTTP/1 all their life: a box would cost each an allocation"
)]
enum Stage<Io, A: App> {
    Http1(Http1<Io, A>),
    // Boxed, so that the many connections without it do not carry its size.
    Http2(Box<Http2<Io, A>>),
    WebSocket(Box<WebSocketStage<Io, A::Chunk>>),
    /// Nobody, while it changes hands.
    Handed,
}

/// What a connection speaks from its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstProtocol {
    /// HTTP/1, or HTTP/2 if the client begins with its preface and the limits allow it.
    Http1,
    /// HTTP/2, agreed on before (ALPN).
    Http2,
}

impl<Io, A: App> std::fmt::Debug for Connection<Io, A> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = formatter.debug_tuple("Connection");
        match &self.stage {
            Stage::Http1(http1) => debug.field(http1),
            Stage::Http2(http2) => debug.field(http2),
            Stage::WebSocket(websocket) => debug.field(websocket),
            Stage::Handed => &mut debug,
        };
        debug.finish()
    }
}

impl<Io: Transport, A: App> Connection<Io, A> {
    /// Takes over a connection that was just accepted.
    pub fn new(io: Io, info: Rc<ConnectionInfo>, app: Rc<A>, service: Rc<Service>) -> Self {
        Self::speaking(FirstProtocol::Http1, io, info, app, service)
    }

    /// Takes over a connection that was just accepted and whose first protocol is known.
    pub fn speaking(
        first: FirstProtocol,
        io: Io,
        info: Rc<ConnectionInfo>,
        app: Rc<A>,
        service: Rc<Service>,
    ) -> Self {
        service.meter.connection_opened();
        let handover = Handover::first(io, info, app, Rc::clone(&service));
        service.meter.connection_idle();
        let stage = match first {
            FirstProtocol::Http1 => Stage::Http1(Http1::new(handover)),
            FirstProtocol::Http2 => Stage::Http2(Box::new(Http2::new(handover))),
        };
        Self { stage, service }
    }

    /// Gives the connection to the next stage.
    fn hand_over(&mut self, next: NextStage) {
        self.stage = match (std::mem::replace(&mut self.stage, Stage::Handed), next) {
            (Stage::Http1(http1), NextStage::Http2) => {
                Stage::Http2(Box::new(Http2::new(http1.into_handover())))
            }
            (Stage::Http1(http1), NextStage::WebSocket) => {
                http1.into_websocket().map_or(Stage::Handed, |stage| Stage::WebSocket(Box::new(stage)))
            }
            // Nothing comes after these.
            (Stage::Http2(_) | Stage::WebSocket(_) | Stage::Handed, _) => return,
        };
    }
}

impl<Io: Transport, A: App> Future for Connection<Io, A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let connection = self.get_mut();
        loop {
            let end = match &mut connection.stage {
                Stage::Http1(http1) => http1.poll(context),
                Stage::Http2(http2) => http2.poll(context),
                Stage::WebSocket(websocket) => Pin::new(websocket).poll(context).map(|()| StageEnd::Closed),
                Stage::Handed => Poll::Ready(StageEnd::Closed),
            };
            match end {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(StageEnd::Closed) => return Poll::Ready(()),
                Poll::Ready(StageEnd::Next(next)) => connection.hand_over(next),
            }
        }
    }
}

impl<Io, A: App> Drop for Connection<Io, A> {
    fn drop(&mut self) {
        match &mut self.stage {
            Stage::Http1(http1) => http1.break_off(),
            Stage::Http2(http2) => http2.break_off(),
            // Their own drop does it.
            Stage::WebSocket(_) | Stage::Handed => {}
        }
        self.service.meter.connection_closed();
    }
}

impl<Io, A: App> Unpin for Connection<Io, A> {}
