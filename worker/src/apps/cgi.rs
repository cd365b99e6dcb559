//! CGI/1.1 (RFC 3875): each request is answered by a program that is started for it. A directory of programs, or one.
//!
//! Decisions where the RFC leaves a choice: the code of a program's exit is not looked at, a signal is; what a program left running
//! in its process group ends with the request (`setsid` leaves it); an `nph-` program's header is checked and its body framed by
//! us, so that no program can break a connection that it shares.

mod complaints;
mod conversation;
mod guard;
mod intake;
mod meta_variables;
mod places;
mod program;
mod request;
mod response_head;
mod script;
mod search_words;
mod spool;

use std::{io, rc::Rc, time::Duration};

use bytes::Bytes;
use protocol::settings::{CgiAuthorization, CgiSettings};
use worker_server::{App, BodyLength, Exchange, Last, RequestHead};

pub use self::guard::{GUARD_ARGUMENT, run as run_guard};
use self::{
    complaints::Complaints,
    conversation::{Conversation, End, Fault},
    guard::Guard,
    intake::{Intake, Stage},
    meta_variables::{Authorization, DEFAULT_PATH, PASSED_ON, Variables},
    places::Places,
    program::{Ending, Input, Pipes, Plan, Program},
    request::Request,
    script::{NoScript, Script, Site},
    spool::Spooled,
};
use crate::{error::StartError, meter::WorkerMeter};

/// Most local redirects in a row (§6.2.2): more is a circle.
const MAX_LOCAL_REDIRECTS: u32 = 10;

/// The app that runs CGI programs.
#[derive(Debug)]
pub struct Cgi {
    shared: Rc<Shared>,
}

#[derive(Debug)]
struct Shared {
    site: Site,
    /// What every program gets besides the meta-variables.
    variables: Variables,
    authorization: Authorization,
    time_limit: Duration,
    /// Bound of a body, 0 for none.
    body_bytes: u64,
    places: Places,
    guard: Rc<Guard>,
    meter: WorkerMeter,
}

impl Cgi {
    /// Programs as the settings say; `body_bytes` is the bound of a request's body, 0 for none. Inside a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] if there is no such directory or program, or no guard process can be started.
    pub fn new(settings: &CgiSettings, body_bytes: u64, meter: WorkerMeter) -> Result<Self, StartError> {
        let site = Site::open(&settings.path).map_err(|error| {
            StartError::boot(format!("cannot serve CGI from {}: {error}", settings.path.display()))
        })?;
        let guard = Guard::start()
            .map_err(|error| StartError::boot(format!("cannot start the guard of CGI programs: {error}")))?;
        let shared = Shared {
            site,
            variables: variables_of_all(settings),
            authorization: match settings.authorization {
                CgiAuthorization::Withheld => Authorization::Withheld,
                CgiAuthorization::Passed => Authorization::Passed,
            },
            time_limit: Duration::from_millis(settings.timeout_ms),
            body_bytes,
            places: Places::new(settings.processes),
            guard: Rc::new(guard),
            meter,
        };
        Ok(Self { shared: Rc::new(shared) })
    }
}

fn variables_of_all(settings: &CgiSettings) -> Variables {
    let mut variables: Variables = vec![("PATH".into(), DEFAULT_PATH.into())];
    let ours = PASSED_ON.iter().filter_map(|name| Some(((*name).into(), std::env::var_os(name)?)));
    variables.extend(ours);
    variables.extend(settings.environment.iter().map(|(name, value)| (name.into(), value.into())));
    variables
}

impl App for Cgi {
    type Chunk = Bytes;

    fn call(&self, head: &RequestHead<'_>, exchange: Exchange<Bytes>) {
        let request = Request::new(head);
        let shared = Rc::clone(&self.shared);
        tokio::task::spawn_local(async move { shared.answer(request, exchange).await });
    }
}

/// What a request comes to when no program answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    BadPath,
    Forbidden,
    NotFound,
    BodyTooLarge,
    /// The program cannot be started, or the disk not written.
    Broken,
    /// The program's answer is none.
    BadAnswer,
    /// All places are taken.
    Busy,
    TimedOut,
}

/// What to do after a run.
enum Next {
    Done,
    Redirect(Vec<u8>),
}

impl Shared {
    async fn answer(&self, mut request: Request, exchange: Exchange<Bytes>) {
        if request.path == b"*" {
            // `OPTIONS *` asks about the server, not about a program.
            let _client_left =
                exchange.head(204, std::iter::empty()).and_then(|()| exchange.body(Bytes::new(), Last::Yes));
            return;
        }
        for _ in 0..=MAX_LOCAL_REDIRECTS {
            match self.run(&request, &exchange).await {
                Ok(Next::Done) => return,
                Ok(Next::Redirect(target)) => request = request.redirected(&target),
                Err(refusal) => return refuse(&exchange, refusal),
            }
        }
        tracing::error!("{}: local redirects without an end", request.title());
        refuse(&exchange, Refusal::BadAnswer);
    }

    /// One request, one program.
    async fn run(&self, request: &Request, exchange: &Exchange<Bytes>) -> Result<Next, Refusal> {
        let script = self.site.find(&request.prefix, request.path_below_prefix())?;
        let Some((input, body_bytes)) = self.input(request, exchange).await? else { return Ok(Next::Done) };
        // The place is held until the program is reaped.
        let is_unread = matches!(input, Input::Streamed);
        let intake = Intake::of(exchange, if is_unread { Stage::Open } else { Stage::Done });
        let place = tokio::select! {
            biased;
            place = self.places.take() => place.map_err(|_full| Refusal::Busy)?,
            () = intake.client_left() => return Ok(Next::Done),
        };
        let (mut program, pipes) = self.start(request, &script, input, body_bytes)?;
        let Pipes { stdin, stdout, stderr } = pipes;
        let mut complaints = Complaints::of(script.title(), stderr);
        let conversation = Conversation {
            exchange,
            program: &mut program,
            stdin,
            stdout,
            complaints: &mut complaints,
            dialect: script.dialect,
            is_head: request.is_head(),
        };
        let next = self.conclude(conversation.hold(self.time_limit).await, request, exchange);
        program.finish().await;
        complaints.finish();
        drop(place);
        Ok(next)
    }

    /// What the program will read, and how long it is; nothing if the client left meanwhile.
    async fn input(
        &self,
        request: &Request,
        exchange: &Exchange<Bytes>,
    ) -> Result<Option<(Input, Option<u64>)>, Refusal> {
        match request.body {
            BodyLength::None => Ok(Some((Input::Empty, None))),
            BodyLength::Known(0) => Ok(Some((Input::Empty, Some(0)))),
            BodyLength::Known(bytes) => Ok(Some((Input::Streamed, Some(bytes)))),
            BodyLength::Chunked => match spool::spool(exchange, self.body_bytes).await {
                Ok(Spooled::Whole(file, bytes)) => Ok(Some((Input::Spooled(file), Some(bytes)))),
                Ok(Spooled::TooLarge) => Err(Refusal::BodyTooLarge),
                Ok(Spooled::ClientLeft) => Ok(None),
                Err(error) => {
                    tracing::error!("{}: the request's body cannot be kept: {error}", request.title());
                    Err(Refusal::Broken)
                }
            },
        }
    }

    fn start(
        &self,
        request: &Request,
        script: &Script,
        input: Input,
        body_bytes: Option<u64>,
    ) -> Result<(Program, Pipes), Refusal> {
        // Meta-variables last: nothing of ours may stand for them.
        let mut variables = self.variables.clone();
        variables.extend(meta_variables::meta_variables(
            request,
            script,
            &self.site,
            body_bytes,
            self.authorization,
        ));
        let arguments = search_words::words(&request.method, &request.query);
        let plan = Plan { file: &script.file, arguments, variables, input };
        Program::start(plan, &self.guard).map_err(|error| {
            let hint = match error.raw_os_error() {
                Some(libc_enoexec) if libc_enoexec == nix::errno::Errno::ENOEXEC as i32 => {
                    "; a script begins with `#!` and its interpreter"
                }
                Some(_) | None if error.kind() == io::ErrorKind::NotFound => {
                    "; is the interpreter after `#!` there?"
                }
                Some(_) | None => "",
            };
            tracing::error!("{} cannot be started: {error}{hint}", script.file.display());
            self.meter.application_failed();
            Refusal::Broken
        })
    }

    /// Tells the client and the log how the run ended.
    fn conclude(&self, end: End, request: &Request, exchange: &Exchange<Bytes>) -> Next {
        let fault = match end {
            End::Answered | End::ClientLeft => return Next::Done,
            End::LocalRedirect(target) => return Next::Redirect(target),
            End::Failed(fault) => fault,
        };
        let (refusal, cause) = explain(fault, self.time_limit);
        tracing::error!("the CGI program failed in {}: {cause}", request.title());
        self.meter.application_failed();
        refuse(exchange, refusal);
        Next::Done
    }
}

impl From<NoScript> for Refusal {
    fn from(reason: NoScript) -> Self {
        match reason {
            NoScript::BadPath => Self::BadPath,
            NoScript::NotFound => Self::NotFound,
            NoScript::Forbidden => Self::Forbidden,
        }
    }
}

fn explain(fault: Fault, time_limit: Duration) -> (Refusal, String) {
    let cause = match fault {
        Fault::TimedOut => return (Refusal::TimedOut, format!("it did not end within {time_limit:?}")),
        Fault::NoHeader(ending) => format!("it gave no whole header; {}", ended(ending)),
        Fault::Malformed(malformed) => malformed.explanation().to_owned(),
        Fault::NoContentType => "it sent a body without a Content-Type".to_owned(),
        Fault::Broken(ending) => format!("its answer is broken off; {}", ended(ending)),
        Fault::Reply(error) => format!("its answer does not hold together ({error:?})"),
        Fault::Output(error) => format!("its output cannot be read: {error}"),
    };
    (Refusal::BadAnswer, cause)
}

fn ended(ending: Ending) -> String {
    match ending {
        Ending::Exited(code) => format!("it exited with code {code}"),
        Ending::Killed(signal) => format!("{signal} ended it"),
        Ending::Unknown => "it closed its output".to_owned(),
    }
}

/// Answers for the program; an answer that was begun is broken off.
fn refuse(exchange: &Exchange<Bytes>, refusal: Refusal) {
    let (status, text) = match refusal {
        Refusal::BadPath => (400, "this path cannot be served\n"),
        Refusal::Forbidden => (403, "this is no program that may be run\n"),
        Refusal::NotFound => (404, "there is no such program\n"),
        Refusal::BodyTooLarge => (413, "the request's body is too large\n"),
        Refusal::Broken => (500, "the program cannot be started\n"),
        Refusal::BadAnswer => (502, "the program gave no answer that can be passed on\n"),
        Refusal::Busy => (503, "too many programs are running\n"),
        Refusal::TimedOut => (504, "the program took too long\n"),
    };
    let kind = (&b"content-type"[..], &b"text/plain; charset=utf-8"[..]);
    let retry = (&b"retry-after"[..], &b"1"[..]);
    let fields = std::iter::once(kind).chain((refusal == Refusal::Busy).then_some(retry));
    if exchange.is_started() {
        exchange.fail();
    } else if exchange.head(status, fields).is_ok() {
        let _client_left = exchange.body(Bytes::from_static(text.as_bytes()), Last::Yes);
    }
}

/// Door for the fuzz target into the parser of what programs answer. Built with `--cfg fuzzing` only.
#[cfg(fuzzing)]
pub fn fuzz_response_head(bytes: &[u8]) {
    response_head::check_every_beginning(bytes);
}
