//! The request's body on its way to the program: no faster than it reads. And the only sign that the client is gone.

use std::{cell::Cell, future::poll_fn, task::Poll};

use bytes::Bytes;
use tokio::{io::AsyncWriteExt as _, net::unix::pipe};
use worker_server::{Exchange, Taken};

/// What came.
#[derive(Debug)]
pub(super) enum Received {
    /// A piece of the body.
    Piece {
        bytes: Bytes,
        /// Another will follow.
        more: bool,
    },
    /// The client is gone.
    ClientLeft,
}

/// The next piece of the body. Not after the last one.
pub(super) async fn receive(exchange: &Exchange<Bytes>) -> Received {
    poll_fn(|context| match exchange.receive(Bytes::copy_from_slice) {
        (Taken::Body { more }, bytes) => {
            Poll::Ready(Received::Piece { bytes: bytes.unwrap_or_default(), more })
        }
        (Taken::Disconnected, _) => Poll::Ready(Received::ClientLeft),
        (Taken::Pending, _) => {
            exchange.wake_on_receive(context.waker().clone());
            Poll::Pending
        }
    })
    .await
}

/// How far the body is. While it is open, whoever reads it hears that the client leaves; nobody else may ask to be woken then,
/// because a body that waits to be read wakes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Being read.
    Open,
    /// Nothing is to come.
    Done,
}

/// The body of one request.
#[derive(Debug)]
pub(super) struct Intake<'a> {
    exchange: &'a Exchange<Bytes>,
    stage: Cell<Stage>,
}

impl<'a> Intake<'a> {
    pub(super) fn of(exchange: &'a Exchange<Bytes>, stage: Stage) -> Self {
        Self { exchange, stage: Cell::new(stage) }
    }

    /// Moves the body into the program, if it has a pipe for it.
    pub(super) async fn feed(&self, stdin: Option<pipe::Sender>) {
        if let Some(stdin) = stdin {
            self.pour_into(stdin).await;
        }
        self.stage.set(Stage::Done);
    }

    /// A program that does not want it all has its will: the rest is read and dropped, so that the client comes to read the answer.
    async fn pour_into(&self, stdin: pipe::Sender) {
        let mut stdin = Some(stdin);
        loop {
            let Received::Piece { bytes, more } = receive(self.exchange).await else {
                // The program must not take the end of its client for the end of the body: it will be ended.
                return std::future::pending().await;
            };
            self.look_out().await;
            if let Some(pipe) = &mut stdin
                && pipe.write_all(&bytes).await.is_err()
            {
                stdin = None;
            }
            if !more {
                return;
            }
        }
    }

    /// Asks to be woken if the client leaves while the program does not read.
    async fn look_out(&self) {
        poll_fn(|context| {
            self.exchange.wake_on_receive(context.waker().clone());
            Poll::Ready(())
        })
        .await;
    }

    /// Waits until the client is gone. While the body is read, `feed` is who hears of it.
    pub(super) async fn client_left(&self) {
        poll_fn(|context| {
            if self.exchange.is_over() {
                return Poll::Ready(());
            }
            if self.stage.get() == Stage::Done {
                self.exchange.wake_on_receive(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}
