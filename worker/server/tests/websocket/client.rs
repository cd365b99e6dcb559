//! Both ends: apps that speak WebSocket, and a client that writes frames by hand and reads what comes back.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use worker_server::{
    App, Compression, Exchange, Limits, MessageKind, Received, RequestHead, Room, WebSocket, WebSocketLimits,
};

use crate::support::{self, Rig, apps::spawn};

pub(crate) const REQUEST: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
pub(crate) const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
pub(crate) const SERVER: &str = "server: supervise\r\n\r\n";

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

pub(crate) const MESSAGE_BYTES: usize = 100_000;

pub(crate) type Socket = Rc<WebSocket<Vec<u8>>>;
pub(crate) type Kept = Rc<RefCell<Vec<Socket>>>;

/// An app whose WebSockets are a function, and whose requests are answered with the path.
pub(crate) struct Sockets<F>(pub F);

impl<F: Fn(&RequestHead<'_>, Socket) + 'static> App for Sockets<F> {
    type Chunk = Vec<u8>;

    fn call(&self, head: &RequestHead<'_>, exchange: Exchange<Vec<u8>>) {
        support::apps::reply(&exchange, 200, &[], head.path);
    }

    fn websocket(&self, head: &RequestHead<'_>, socket: WebSocket<Vec<u8>>) {
        (self.0)(head, Rc::new(socket));
    }
}

pub(crate) fn limits() -> Limits {
    let websocket = WebSocketLimits {
        message_bytes: MESSAGE_BYTES,
        ping_interval: Some(Duration::from_secs(20)),
        ping_timeout: Some(Duration::from_secs(30)),
        compression: Compression::Deflate,
    };
    Limits { websocket: Some(websocket), ..support::limits() }
}

/// A box whose client has sent the handshake; nothing of the answer is read.
pub(crate) fn rig(app: impl Fn(&RequestHead<'_>, Socket) + 'static) -> Rig<impl App<Chunk = Vec<u8>>> {
    let mut rig = Rig::with_limits(Sockets(app), limits());
    rig.send(format!("{REQUEST}\r\n"));
    rig
}

/// An app that accepts and lays its sockets aside for the test to go on with.
pub(crate) fn keeper() -> (Kept, impl Fn(&RequestHead<'_>, Socket) + 'static) {
    let kept = Kept::default();
    let keep = Rc::clone(&kept);
    (kept, move |_: &RequestHead<'_>, socket: Socket| {
        accept(&socket);
        keep.borrow_mut().push(socket);
    })
}

pub(crate) fn accept(socket: &Socket) {
    assert_eq!(socket.accept(None, std::iter::empty()), Ok(()));
}

/// Accepts and sends back what it receives, until the client leaves.
pub(crate) fn echo(_: &RequestHead<'_>, socket: Socket) {
    accept(&socket);
    spawn(Echo { socket });
}

struct Echo {
    socket: Socket,
}

impl Future for Echo {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.socket.room() == Room::Full {
                self.socket.wake_on_room(context.waker().clone());
                return Poll::Pending;
            }
            match self.socket.receive(|kind, message| (kind, message.to_vec())) {
                Received::Message((kind, message)) => _ = self.socket.send(kind, message),
                Received::Pending => {
                    self.socket.wake_on_receive(context.waker().clone());
                    return Poll::Pending;
                }
                Received::Disconnected(_) => return Poll::Ready(()),
            }
        }
    }
}

/// What the app is told now.
pub(crate) fn take(socket: &Socket) -> Received<(MessageKind, Vec<u8>)> {
    socket.receive(|kind, message| (kind, message.to_vec()))
}

/// The code and reason that the app is told.
pub(crate) fn end(socket: &Socket) -> (u16, String) {
    match take(socket) {
        Received::Disconnected(close) => (close.code, close.reason.into()),
        other => panic!("{other:?}"),
    }
}

/// A client's frame.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ MASK[index % 4]));
    frame
}

/// A server's frame.
pub(crate) fn served(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(length as u8),
        length @ 126..65_536 => {
            frame.push(126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    [frame, payload.to_vec()].concat()
}

/// A close frame's payload.
pub(crate) fn close(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// What the server has sent since this was last asked, as bytes.
pub(crate) fn received<A: App>(rig: &mut Rig<A>) -> Vec<u8> {
    rig.wire.take_output()
}

/// A box with an open WebSocket; the answer is read.
pub(crate) fn open(app: impl Fn(&RequestHead<'_>, Socket) + 'static) -> Rig<impl App<Chunk = Vec<u8>>> {
    let mut rig = rig(app);
    assert_eq!(rig.received(), format!("{SWITCHED}{SERVER}"));
    rig
}
