//! Signals as a stream: blocked in the whole process from the first moment on, so that none acts before it is understood,
//! and read from a descriptor. Gives each a meaning; acts on none.

use std::io::{self, IsTerminal as _};

use nix::sys::{
    signal::{SigSet, SigmaskHow, Signal, sigprocmask},
    signalfd::{SfdFlags, SignalFd},
};
use supervisor_fleet::Urgency;
use tokio::io::{Interest, unix::AsyncFd};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// HUP.
    Reload,
    /// TERM, INT, QUIT.
    Stop(Urgency),
    /// TTIN, TTOU: so many workers more.
    Scale(i32),
    /// CHLD: a child, ours or adopted, may be over.
    ReapStrangers,
    /// USR1.
    ReopenLogs,
    /// USR2, WINCH: means something in other servers and will here.
    NotYet {
        /// "SIGUSR2".
        signal: &'static str,
        /// What it will do.
        meaning: &'static str,
    },
}

const SIGNALS: [Signal; 10] = [
    Signal::SIGHUP,
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGCHLD,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
];

/// Blocks all signals that this program understands. Before any thread is made: threads inherit the mask.
/// [`crate::processes`] empties it in each child.
///
/// # Errors
/// None is expected.
pub fn block() -> io::Result<()> {
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SIGNALS.into_iter().collect()), None)?)
}

/// The signals that came.
#[derive(Debug)]
pub struct Signals {
    pending: AsyncFd<SignalFd>,
}

impl Signals {
    /// The stream of blocked signals. Must be made inside the runtime.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn new() -> io::Result<Self> {
        let mask: SigSet = SIGNALS.into_iter().collect();
        let descriptor = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; a SignalFd owns its descriptor and never changes it"
        )]
        let pending = AsyncFd::with_interest(descriptor, Interest::READABLE)?;
        Ok(Self { pending })
    }

    /// Sleeps until a signal came.
    pub async fn next(&self) -> Wish {
        loop {
            let Ok(mut ready) = self.pending.readable().await else { return std::future::pending().await };
            let read = ready.try_io(|signals| match signals.get_ref().read_signal() {
                Ok(Some(signal)) => Ok(signal.ssi_signo),
                Ok(None) => Err(io::ErrorKind::WouldBlock.into()),
                Err(error) => Err(error.into()),
            });
            if let Ok(Ok(number)) = read
                && let Some(wish) = i32::try_from(number)
                    .ok()
                    .and_then(|number| Signal::try_from(number).ok())
                    .and_then(meaning)
            {
                return wish;
            }
        }
    }
}

fn meaning(signal: Signal) -> Option<Wish> {
    match signal {
        Signal::SIGHUP => Some(Wish::Reload),
        Signal::SIGTERM => Some(Wish::Stop(Urgency::Graceful)),
        Signal::SIGINT | Signal::SIGQUIT => Some(Wish::Stop(Urgency::Quick)),
        Signal::SIGTTIN => Some(Wish::Scale(1)),
        Signal::SIGTTOU => Some(Wish::Scale(-1)),
        Signal::SIGCHLD => Some(Wish::ReapStrangers),
        Signal::SIGUSR1 => Some(Wish::ReopenLogs),
        Signal::SIGUSR2 => Some(Wish::NotYet { signal: "SIGUSR2", meaning: "the in-place upgrade" }),
        // A terminal sends it with every change of its size: that is no wish.
        Signal::SIGWINCH if !io::stderr().is_terminal() => {
            Some(Wish::NotYet { signal: "SIGWINCH", meaning: "draining of all workers" })
        }
        _ => None,
    }
}
