//! Adopts what a worker inherits from whoever started it: listening sockets, control pipes, shared memory and settings, named
//! by the environment variables of [`protocol::inherited`]. Checks each before it is trusted, and says which one is wrong.
//! The descriptors it gives back are non-blocking and close-on-exec; what runs on them is no business of this file.

#![expect(unsafe_code, reason = "a descriptor number from the environment becomes an owned descriptor")]

use std::{
    env,
    io::{self, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
        unix::{
            self,
            net::{UnixListener, UnixStream},
        },
    },
    sync::atomic::{AtomicBool, Ordering},
};

use nix::{
    fcntl::{FcntlArg, FdFlag, OFlag, fcntl},
    sys::{
        socket::{
            AddressFamily, SockaddrLike, SockaddrStorage, getsockname, getsockopt, sockopt::AcceptConn,
        },
        stat::{SFlag, fstat},
    },
};
use protocol::{inherited as names, settings::WorkerSettings};
use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    error::StartError,
    scoreboard_mapping::{EvidenceTable, Scoreboard},
};

/// All that a worker inherits.
#[derive(Debug)]
pub struct Inherited {
    /// What to do.
    pub settings: WorkerSettings,
    /// The pipes to the supervisor; none when the worker runs alone.
    pub control: Option<ControlPipes>,
    /// Sockets to accept from, in the order of the `--bind` options. Never empty.
    pub listeners: Vec<Listener>,
    /// Shared counters; private memory when the worker runs alone.
    pub scoreboard: Scoreboard,
    /// Requests in flight, for whoever must explain a hang; private memory when the worker runs alone.
    pub evidence: EvidenceTable,
    /// Where tracebacks and stack dumps are appended to; none when the worker runs alone.
    pub evidence_text: Option<OwnedFd>,
    /// Certificates and keys; only where TLS is spoken.
    pub credentials: Option<OwnedFd>,
    /// Number of the slot, from 1; 1 when alone.
    pub slot: u32,
    /// Number of the generation, from 1; 1 when alone.
    pub generation: u32,
}

/// Both ends of the control channel that belong to the worker, non-blocking.
#[derive(Debug)]
pub struct ControlPipes {
    /// Orders come from here; its end means that the supervisor died.
    pub from_supervisor: OwnedFd,
    /// Reports go here.
    pub to_supervisor: OwnedFd,
}

/// A listening socket, non-blocking.
#[derive(Debug)]
pub enum Listener {
    /// TCP, v4 or v6.
    Tcp(TcpListener),
    /// A unix socket.
    Unix(UnixListener),
}

/// A connection that was just accepted, non-blocking and close-on-exec, with the address of its other end.
#[derive(Debug)]
pub enum Accepted {
    /// Over TCP.
    Tcp(TcpStream, SocketAddr),
    /// Over a unix socket.
    Unix(UnixStream, unix::net::SocketAddr),
}

impl Listener {
    /// A second handle on the same socket.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(listener) => listener.try_clone().map(Self::Tcp),
            Self::Unix(listener) => listener.try_clone().map(Self::Unix),
        }
    }

    /// A second handle whose readability tokio watches.
    ///
    /// # Errors
    /// When the process has no descriptor left, or none can be watched.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub(crate) fn watched(&self) -> io::Result<AsyncFd<Self>> {
        let listener = self.try_clone()?;
        // SAFETY: a listener owns its open descriptor until it is dropped, and gives the same one each time.
        unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE) }.map_err(io::Error::from)
    }

    /// Takes one connection from the queue.
    ///
    /// # Errors
    /// `WouldBlock` when none waits; else as accept(2).
    pub fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(Accepted::Tcp(stream, peer))
            }
            Self::Unix(listener) => {
                let (stream, peer) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(Accepted::Unix(stream, peer))
            }
        }
    }
}

/// Lets sockets survive an exec, and gives the value of [`names::LISTENERS`] that names them.
///
/// # Errors
/// [`StartError`] when the system refuses.
pub fn bequeath(listeners: &[Listener]) -> Result<String, StartError> {
    let numbers = listeners.iter().map(|listener| {
        fcntl(listener, FcntlArg::F_SETFD(FdFlag::empty()))
            .map_err(|error| StartError::boot(format!("cannot pass on a listening socket: {error}")))?;
        Ok(listener.as_raw_fd().to_string())
    });
    numbers.collect::<Result<Vec<_>, StartError>>().map(|numbers| numbers.join(","))
}

/// Says where a worker that runs alone listens, port 0 resolved.
pub(crate) fn announce(listeners: &[Listener]) {
    for listener in listeners {
        let address = match listener {
            Listener::Tcp(listener) => listener.local_addr().map(|address| format!("http://{address}")),
            Listener::Unix(listener) => listener.local_addr().map(|address| {
                address
                    .as_pathname()
                    .map_or_else(|| "unix socket".to_owned(), |path| format!("unix:{}", path.display()))
            }),
        };
        if let Ok(address) = address {
            let _unread = writeln!(io::stderr(), "listening on {address}");
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// Whether this process was started by a supervisor or by a `worker` that prepared everything for it.
#[must_use]
pub fn is_inherited() -> bool {
    env::var_os(names::SETTINGS).is_some()
}

/// Reads the settings alone, and takes no descriptor: for a launcher that execs what will adopt them.
///
/// # Errors
/// [`StartError`] naming the variable when it is missing or no settings.
pub fn settings() -> Result<WorkerSettings, StartError> {
    let text = variable(names::SETTINGS)?.ok_or_else(|| {
        StartError::boot(format!("{} is not set: start this program with `supervise`", names::SETTINGS))
    })?;
    serde_json::from_str(&text).map_err(|error| {
        StartError::boot(format!(
            "{} holds no worker settings: {error} (are `supervise` and the worker of the same version?)",
            names::SETTINGS
        ))
    })
}

/// Takes over everything that the environment names. Works once a process: the descriptors have one owner.
///
/// # Errors
/// [`StartError`] that names the variable and what is wrong with it. The control pipes then stay open, for
/// [`crate::farewell::report_unadopted`].
///
/// # Panics
/// When called twice, which would give two owners to one descriptor: a bug of ours.
pub fn adopt() -> Result<Inherited, StartError> {
    static ADOPTED: AtomicBool = AtomicBool::new(false);
    assert!(!ADOPTED.swap(true, Ordering::Relaxed), "the inherited descriptors were adopted twice");
    let settings = settings()?;
    let (control, evidence_text) = adopt_for_farewell()?;
    match adopt_serving(evidence_text.as_ref()) {
        Ok(Serving { listeners, scoreboard, evidence, credentials, slot, generation }) => Ok(Inherited {
            settings,
            control,
            listeners,
            scoreboard,
            evidence,
            evidence_text,
            credentials,
            slot,
            generation,
        }),
        Err(error) => {
            let pipes = control.map(|pipes| [pipes.from_supervisor, pipes.to_supervisor]);
            for descriptor in pipes.into_iter().flatten().chain(evidence_text) {
                let _stays_open = descriptor.into_raw_fd();
            }
            Err(error)
        }
    }
}

/// What is needed to serve.
struct Serving {
    listeners: Vec<Listener>,
    scoreboard: Scoreboard,
    evidence: EvidenceTable,
    credentials: Option<OwnedFd>,
    slot: u32,
    generation: u32,
}

fn adopt_serving(evidence_text: Option<&OwnedFd>) -> Result<Serving, StartError> {
    let scoreboard = match adopt_descriptor(names::SCOREBOARD)? {
        Some(memory) => Scoreboard::map(&memory, number(names::SCOREBOARD_RECORD)?.unwrap_or(0) as usize)?,
        None => Scoreboard::private()?,
    };
    Ok(Serving {
        listeners: adopt_listeners()?,
        scoreboard,
        evidence: evidence_text.map_or_else(EvidenceTable::private, EvidenceTable::map)?,
        credentials: adopt_descriptor(names::CREDENTIALS)?,
        slot: number(names::SLOT)?.unwrap_or(1),
        generation: number(names::GENERATION)?.unwrap_or(1),
    })
}

/// Takes over the control pipes and the evidence text alone: for a launcher that has to report why it cannot go on.
///
/// # Errors
/// [`StartError`] that names the variable and what is wrong with it.
pub fn adopt_for_farewell() -> Result<(Option<ControlPipes>, Option<OwnedFd>), StartError> {
    Ok((adopt_control()?, adopt_descriptor(names::EVIDENCE)?))
}

fn adopt_control() -> Result<Option<ControlPipes>, StartError> {
    let incoming = adopt_pipe(names::CONTROL_IN, OFlag::O_RDONLY)?;
    let outgoing = adopt_pipe(names::CONTROL_OUT, OFlag::O_WRONLY)?;
    match (incoming, outgoing) {
        (Some(from_supervisor), Some(to_supervisor)) => {
            Ok(Some(ControlPipes { from_supervisor, to_supervisor }))
        }
        (None, None) => Ok(None),
        (Some(_), None) | (None, Some(_)) => Err(StartError::boot(format!(
            "{} and {} must be set together",
            names::CONTROL_IN,
            names::CONTROL_OUT
        ))),
    }
}

fn adopt_pipe(name: &str, direction: OFlag) -> Result<Option<OwnedFd>, StartError> {
    let Some(pipe) = adopt_descriptor(name)? else { return Ok(None) };
    let wrong = |what: &str| StartError::boot(format!("{name}={} is {what}", pipe.as_raw_fd()));
    let mode = fstat(&pipe).map_err(|error| wrong(&format!("unusable: {error}")))?.st_mode;
    let flags = fcntl(&pipe, FcntlArg::F_GETFL).map(OFlag::from_bits_truncate).unwrap_or(OFlag::empty());
    if mode & SFlag::S_IFMT.bits() != SFlag::S_IFIFO.bits() {
        return Err(wrong("no pipe"));
    }
    if flags & OFlag::O_ACCMODE != direction {
        return Err(wrong("the wrong end of a pipe"));
    }
    fcntl(&pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))
        .map_err(|error| wrong(&format!("unusable: {error}")))?;
    Ok(Some(pipe))
}

fn adopt_listeners() -> Result<Vec<Listener>, StartError> {
    let list = variable(names::LISTENERS)?.unwrap_or_default();
    let listeners = list
        .split(',')
        .filter(|number| !number.is_empty())
        .map(|number| adopt_listener(adopt_number(names::LISTENERS, number)?))
        .collect::<Result<Vec<_>, _>>()?;
    if listeners.is_empty() {
        return Err(StartError::boot(format!("{} names no listening socket", names::LISTENERS)));
    }
    Ok(listeners)
}

fn adopt_listener(socket: OwnedFd) -> Result<Listener, StartError> {
    let wrong = |what: &str| {
        StartError::boot(format!("{}: descriptor {} is {what}", names::LISTENERS, socket.as_raw_fd()))
    };
    if !getsockopt(&socket, AcceptConn).map_err(|error| wrong(&format!("no socket: {error}")))? {
        return Err(wrong("a socket that does not listen"));
    }
    let flags = fcntl(&socket, FcntlArg::F_GETFL).map(OFlag::from_bits_truncate).unwrap_or(OFlag::empty());
    fcntl(&socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))
        .map_err(|error| wrong(&format!("unusable: {error}")))?;
    let address = getsockname::<SockaddrStorage>(socket.as_raw_fd())
        .map_err(|error| wrong(&format!("unusable: {error}")))?;
    match address.family() {
        Some(AddressFamily::Inet | AddressFamily::Inet6) => Ok(Listener::Tcp(socket.into())),
        Some(AddressFamily::Unix) => Ok(Listener::Unix(socket.into())),
        other => {
            Err(wrong(&format!("of the address family {other:?}; only TCP and unix sockets can be served")))
        }
    }
}

fn adopt_descriptor(name: &str) -> Result<Option<OwnedFd>, StartError> {
    variable(name)?.map(|number| adopt_number(name, &number)).transpose()
}

/// Takes the descriptor with this number, and keeps programs that the application starts from inheriting it.
fn adopt_number(name: &str, text: &str) -> Result<OwnedFd, StartError> {
    let wrong = |what: &str| StartError::boot(format!("{name}: {text:?} is {what}"));
    let number: RawFd = text.trim().parse().map_err(|_error| wrong("no descriptor number"))?;
    if number <= 2 {
        return Err(wrong("standard input, output or error"));
    }
    // SAFETY: whoever set the variable passed this descriptor to this process for its own use; `adopt` runs once, so it gets
    // one owner. A number that is not open is found by the next call, before anything else is done with it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    if let Err(error) = fcntl(descriptor.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)) {
        // Closing a descriptor that is not open would be a second error.
        std::mem::forget(descriptor);
        return Err(wrong(&format!("not open in this process: {error}")));
    }
    Ok(descriptor)
}

fn number(name: &str) -> Result<Option<u32>, StartError> {
    variable(name)?
        .map(|text| text.parse().map_err(|_error| StartError::boot(format!("{name}: {text:?} is no number"))))
        .transpose()
}

fn variable(name: &str) -> Result<Option<String>, StartError> {
    match env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(StartError::boot(format!("{name} is not valid UTF-8"))),
    }
}
