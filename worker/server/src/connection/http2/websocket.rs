//! A WebSocket in a stream: waits until hyper hands the accepted stream over, then is the WebSocket's side of it. One task among
//! the connection's streams, with a place of its own in the drain.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use hyper::upgrade::{OnUpgrade, Upgraded};

use super::tasks::Tasks;
use crate::{
    Service,
    connection::websocket::WebSocketStage,
    drain::Registration,
    stream::{Stream, Switched},
    websocket::session::Session,
};

/// The session that a handshake may open, carried by a task that waits for it; `None` if the app speaks no WebSocket.
pub(super) fn begin<C: AsRef<[u8]> + 'static>(
    tasks: &Tasks<C>,
    service: &Rc<Service>,
    stream: Rc<Stream<C>>,
    upgrade: OnUpgrade,
) -> Option<Rc<Session<C>>> {
    let limits = service.limits.websocket.clone()?;
    let session = Rc::new(Session::new(Rc::clone(service), limits));
    let registration = service.drain.register();
    let state = State::Asked { upgrade, registration, session: Rc::clone(&session) };
    tasks.add(InStream { state, switched: Switched::new(stream) });
    Some(session)
}

/// The task.
struct InStream<C: AsRef<[u8]> + 'static> {
    // The order of drops: the WebSocket is counted before the stream ends.
    state: State<C>,
    switched: Switched<C>,
}

enum State<C: AsRef<[u8]> + 'static> {
    /// The app has not accepted yet.
    Asked {
        upgrade: OnUpgrade,
        registration: Registration,
        session: Rc<Session<C>>,
    },
    Open(Box<WebSocketStage<Upgraded, C>>),
    /// Denied, or over.
    Over,
}

impl<C: AsRef<[u8]> + 'static> Future for InStream<C> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if let State::Asked { upgrade, .. } = &mut this.state {
            let Poll::Ready(upgraded) = Pin::new(upgrade).poll(context) else { return Poll::Pending };
            let State::Asked { registration, session, .. } = std::mem::replace(&mut this.state, State::Over)
            else {
                return Poll::Ready(());
            };
            match (upgraded, this.switched.handshake()) {
                (Ok(upgraded), Some(handshake)) => {
                    let stage = WebSocketStage::new(upgraded, &[], session, registration, Some(handshake));
                    this.state = State::Open(Box::new(stage));
                }
                (Ok(_) | Err(_), _) => session.lose(),
            }
        }
        match &mut this.state {
            State::Open(stage) => Pin::new(&mut **stage).poll(context),
            State::Asked { .. } | State::Over => Poll::Ready(()),
        }
    }
}

impl<C: AsRef<[u8]> + 'static> Drop for InStream<C> {
    fn drop(&mut self) {
        // An app that has accepted hears that nobody is there.
        if let State::Asked { session, .. } = &self.state {
            session.lose();
        }
    }
}

impl<C: AsRef<[u8]> + 'static> Unpin for InStream<C> {}
