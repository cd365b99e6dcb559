//! One connection from its accept to its close, through whatever it speaks on the way. Knows which protocol has the connection
//! now and hands it from one to the next; what a protocol says is the business of the modules below.

mod handover;
mod http1;
mod http2;
mod proxy_header;
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
    proxy_header::ProxyHeader,
    websocket::WebSocketStage,
};
use crate::{
    App, ConnectionInfo, Service, Tls, Transport,
    tls::{Agreed, Handshake, HandshakeEnd, HandshakeProgress, MaybeTls, Secured},
};

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
    /// A load balancer tells whose connection it is.
    ProxyHeader(Box<ProxyHeader<Io, A>>),
    /// TLS is being agreed on; then `app` is served.
    Handshake {
        handshake: Box<Handshake<Io>>,
        app: Rc<A>,
    },
    Http1(Http1<MaybeTls<Io>, A>),
    // Boxed, so that the many connections without it do not carry its size.
    Http2(Box<Http2<MaybeTls<Io>, A>>),
    WebSocket(Box<WebSocketStage<MaybeTls<Io>, A::Chunk>>),
    /// Nobody, while it changes hands.
    Handed,
}

impl<Io: Transport, A: App> Stage<Io, A> {
    /// The first stage of a connection of which it is known whose it is.
    fn first(handover: Handover<Io, A>, tls: Option<&Tls>) -> Self {
        let Handover { io, unread, registration, info, app, service } = handover;
        let Some(tls) = tls else {
            service.meter.connection_idle();
            let io = MaybeTls::Plain(io);
            return Self::Http1(Http1::new(Handover { io, unread, registration, info, app, service }));
        };
        match Handshake::new(io, Rc::clone(&info), Rc::clone(&service), tls) {
            Ok(handshake) => Self::Handshake { handshake: Box::new(handshake), app },
            Err(error) => {
                service.meter.tls_handshake_ended(&info.peer, HandshakeEnd::Failed(format_args!("{error}")));
                Self::Handed
            }
        }
    }
}

impl<Io, A: App> std::fmt::Debug for Connection<Io, A> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = formatter.debug_tuple("Connection");
        match &self.stage {
            Stage::ProxyHeader(_) => debug.field(&"PROXY header"),
            Stage::Handshake { handshake, .. } => debug.field(handshake),
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
        Self::opened(Handover::first(io, info, app, service), None)
    }

    /// The same on a listener that speaks TLS.
    pub fn over_tls(io: Io, info: Rc<ConnectionInfo>, app: Rc<A>, service: Rc<Service>, tls: &Tls) -> Self {
        Self::opened(Handover::first(io, info, app, service), Some(tls))
    }

    fn opened(handover: Handover<Io, A>, tls: Option<&Tls>) -> Self {
        let service = Rc::clone(&handover.service);
        service.meter.connection_opened();
        let stage = match service.policy.proxy_protocol.expected_of(&handover.info.peer) {
            Some(versions) => {
                Stage::ProxyHeader(Box::new(ProxyHeader::new(handover, versions, tls.map(Tls::snapshot))))
            }
            None => Stage::first(handover, tls),
        };
        Self { stage, service }
    }

    /// Gives the connection to the next stage.
    fn hand_over(&mut self, next: NextStage) {
        self.stage = match (std::mem::replace(&mut self.stage, Stage::Handed), next) {
            (Stage::ProxyHeader(header), _) => {
                let (handover, tls) = header.into_parts();
                Stage::first(handover, tls.as_ref())
            }
            (Stage::Handshake { handshake, app }, next) => self.begin_secured(handshake.finish(), app, next),
            (Stage::Http1(http1), NextStage::Http2) => {
                Stage::Http2(Box::new(Http2::new(http1.into_handover())))
            }
            (Stage::Http1(http1), NextStage::WebSocket) => {
                http1.into_websocket().map_or(Stage::Handed, |stage| Stage::WebSocket(Box::new(stage)))
            }
            // Nothing comes after these.
            (Stage::Http2(_) | Stage::WebSocket(_) | Stage::Handed, _)
            | (Stage::Http1(_), NextStage::First | NextStage::Http1) => return,
        };
    }

    /// What was agreed on in the handshake is spoken.
    fn begin_secured(&self, secured: Secured<Io>, app: Rc<A>, next: NextStage) -> Stage<Io, A> {
        let Secured { stream, registration, info } = secured;
        let service = Rc::clone(&self.service);
        service.meter.connection_idle();
        let io = MaybeTls::Tls(Box::new(stream));
        let handover = Handover { io, unread: Vec::new(), registration, info, app, service };
        match next {
            NextStage::Http2 => Stage::Http2(Box::new(Http2::new(handover))),
            NextStage::First | NextStage::Http1 | NextStage::WebSocket => Stage::Http1(Http1::new(handover)),
        }
    }
}

impl<Io: Transport, A: App> Future for Connection<Io, A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let connection = self.get_mut();
        loop {
            let end = match &mut connection.stage {
                Stage::ProxyHeader(header) => header.poll(context),
                Stage::Handshake { handshake, .. } => {
                    handshake.poll(context).map(|progress| match progress {
                        HandshakeProgress::Secured(Agreed::Http1) => StageEnd::Next(NextStage::Http1),
                        HandshakeProgress::Secured(Agreed::Http2) => StageEnd::Next(NextStage::Http2),
                        HandshakeProgress::Over => StageEnd::Closed,
                    })
                }
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
            Stage::ProxyHeader(_) | Stage::Handshake { .. } | Stage::WebSocket(_) | Stage::Handed => {}
        }
        self.service.meter.connection_closed();
    }
}

impl<Io, A: App> Unpin for Connection<Io, A> {}
