//! One run of a program, from its start to the last byte of its answer: the request's body goes in, the answer comes out, the log
//! gets its complaints, all at once and each no faster than who takes it.

use std::{convert::Infallible, future::poll_fn, io, task::Poll, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::AsyncReadExt as _,
    net::unix::pipe,
    time::{sleep, timeout},
};
use worker_server::{Exchange, Last, ReplyError, Room};

use super::{
    complaints::Complaints,
    intake::{Intake, Stage},
    program::{Ending, Program},
    response_head::{self, Dialect, Kind, Malformed, Parsed, Redirect, ResponseHead},
};

/// Most that is read at once: what a pipe holds.
const READ_BYTES: usize = 64 * 1024;
/// How long a program may live on after it closed its output, and how long what it started may be silent after its end.
const LINGER: Duration = Duration::from_secs(2);

/// How a run ended.
#[derive(Debug)]
pub(super) enum End {
    /// The client has the whole answer.
    Answered,
    /// The answer is that of another path.
    LocalRedirect(Vec<u8>),
    /// Nobody waits for the answer any more.
    ClientLeft,
    /// The answer cannot be given, or not to its end.
    Failed(Fault),
}

/// What a program did wrong.
#[derive(Debug)]
pub(super) enum Fault {
    /// It did not come to an end in time.
    TimedOut,
    /// It ended without a whole header.
    NoHeader(Ending),
    /// Its header cannot be passed on.
    Malformed(Malformed),
    /// It sent a body of an unknown type (§6.3.1).
    NoContentType,
    /// It was ended by a signal in the middle of its answer.
    Broken(Ending),
    /// Its body is not as long as it said, or the like.
    Reply(ReplyError),
    /// Its output cannot be read.
    Output(io::Error),
}

/// What a run needs.
#[derive(Debug)]
pub(super) struct Conversation<'a> {
    pub(super) exchange: &'a Exchange<Bytes>,
    pub(super) program: &'a mut Program,
    pub(super) stdin: Option<pipe::Sender>,
    pub(super) stdout: pipe::Receiver,
    pub(super) complaints: &'a mut Complaints,
    pub(super) dialect: Dialect,
    /// The request was HEAD.
    pub(super) is_head: bool,
}

impl Conversation<'_> {
    /// Runs it to its end, within `time_limit`.
    pub(super) async fn hold(self, time_limit: Duration) -> End {
        let Self { exchange, program, stdin, stdout, complaints, dialect, is_head } = self;
        let intake = Intake::of(exchange, Stage::Open);
        let mut answer = Answer { exchange, program, stdout, buffer: BytesMut::new(), is_head };
        let beside = async {
            tokio::join!(intake.feed(stdin), complaints.relay());
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            // The answer first: when it is complete there is no client left to lose.
            biased;
            end = answer.give(dialect) => end.unwrap_or_else(End::from),
            never = beside => match never {},
            () = intake.client_left() => End::ClientLeft,
            () = sleep(time_limit) => End::Failed(Fault::TimedOut),
        }
    }
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Reply(ReplyError::Disconnected) => Self::ClientLeft,
            fault => Self::Failed(fault),
        }
    }
}

impl From<ReplyError> for Fault {
    fn from(error: ReplyError) -> Self {
        Self::Reply(error)
    }
}

/// The program's output on its way to the client.
struct Answer<'a> {
    exchange: &'a Exchange<Bytes>,
    program: &'a mut Program,
    stdout: pipe::Receiver,
    /// Read and not yet passed on.
    buffer: BytesMut,
    is_head: bool,
}

impl Answer<'_> {
    async fn give(&mut self, dialect: Dialect) -> Result<End, Fault> {
        let head = self.head(dialect).await?;
        let (status, redirect) = match head.kind {
            Kind::LocalRedirect(target) => return Ok(End::LocalRedirect(target)),
            Kind::Response { status, redirect } => (status, redirect),
        };
        let mut is_withheld = self.is_head || matches!(status, 204 | 205 | 304);
        if !head.has_type && !is_withheld && self.has_body().await? {
            match redirect {
                Redirect::No => return Err(Fault::NoContentType),
                Redirect::Yes => is_withheld = true,
            }
        }
        let fields = head.fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
        self.exchange.head(status, fields)?;
        if is_withheld {
            self.discard().await?;
        } else {
            self.pass_on().await?;
        }
        match self.ending().await {
            Some(ending @ Ending::Killed(_)) => Err(Fault::Broken(ending)),
            Some(Ending::Exited(_) | Ending::Unknown) | None => {
                self.exchange.body(Bytes::new(), Last::Yes)?;
                Ok(End::Answered)
            }
        }
    }

    /// How the program ended, if it does so soon after its output.
    async fn ending(&mut self) -> Option<Ending> {
        timeout(LINGER, self.program.ended()).await.ok()
    }

    async fn head(&mut self, dialect: Dialect) -> Result<ResponseHead, Fault> {
        loop {
            let before = self.buffer.len();
            if self.read().await? == 0 {
                return Err(Fault::NoHeader(self.ending().await.unwrap_or(Ending::Unknown)));
            }
            // Only a line's end can end the head.
            let is_full = self.buffer.len() >= response_head::MAX_HEAD_BYTES;
            if !is_full && !self.buffer[before..].contains(&b'\n') {
                continue;
            }
            match response_head::parse(&self.buffer, dialect) {
                Parsed::Incomplete => {}
                Parsed::Malformed(malformed) => return Err(Fault::Malformed(malformed)),
                Parsed::Whole(head, length) => {
                    let _head = self.buffer.split_to(length);
                    return Ok(head);
                }
            }
        }
    }

    async fn has_body(&mut self) -> Result<bool, Fault> {
        Ok(!self.buffer.is_empty() || self.read().await? > 0)
    }

    /// Streams the body.
    async fn pass_on(&mut self) -> Result<(), Fault> {
        // A head that came alone leaves alone: what follows may take its time.
        loop {
            let room = self.exchange.body(self.buffer.split().freeze(), Last::No)?;
            if room == Room::Full {
                self.room().await;
            }
            if self.read().await? == 0 {
                return Ok(());
            }
        }
    }

    /// Reads the body to its end all the same (§4.3.3): the program is to end by itself.
    async fn discard(&mut self) -> Result<(), Fault> {
        self.exchange.body(Bytes::new(), Last::No)?;
        while self.read().await? > 0 {
            self.buffer.clear();
        }
        Ok(())
    }

    /// Reads what there is, at least one byte; 0 at the end. The end of the program is not the end of its output, which others may
    /// go on writing; but if those are silent for long, it is.
    async fn read(&mut self) -> Result<usize, Fault> {
        let Self { stdout, program, buffer, .. } = self;
        buffer.reserve(READ_BYTES);
        let silence = async {
            program.ended().await;
            sleep(LINGER).await;
        };
        tokio::select! {
            biased;
            read = stdout.read_buf(buffer) => read.map_err(Fault::Output),
            () = silence => Ok(0),
        }
    }

    /// Waits until the client has taken enough.
    async fn room(&self) {
        poll_fn(|context| {
            if self.exchange.room() == Room::Free || self.exchange.is_over() {
                return Poll::Ready(());
            }
            self.exchange.wake_on_room(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
