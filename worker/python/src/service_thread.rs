//! The thread that must live when Python hangs: it reads orders, sends heartbeats while the loop answers, and ends the process
//! when its supervisor died. Never attaches to Python and never touches a request.

#![expect(unsafe_code, reason = "leaves a process whose interpreter cannot be asked")]

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use protocol::ToWorker;
use worker::{
    access_log_writer::AccessLogWriter,
    meter::LoadGauge,
    supervision::{self, ChannelEnd, LoopPulse, ORPHAN_GRACE, Reporter},
    tls::ListenerSecurity,
};

use crate::departure::{Departure, Orders};

/// The thread's stack: it parses short lines and keeps a tokio runtime.
const STACK_BYTES: usize = 256 * 1024;

/// Whether the application was imported; before, there is nothing to drain.
#[derive(Clone, Default)]
pub(crate) struct Boot {
    is_imported: Arc<AtomicBool>,
}

impl Boot {
    /// The import is over.
    pub(crate) fn imported(&self) {
        self.is_imported.store(true, Ordering::Release);
    }
}

/// What the thread serves.
pub(crate) struct Service {
    pub(crate) from_supervisor: OwnedFd,
    pub(crate) reporter: Reporter,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) pulse: LoopPulse,
    pub(crate) gauge: LoadGauge,
    pub(crate) orders: Orders,
    pub(crate) security: ListenerSecurity,
    pub(crate) boot: Boot,
    pub(crate) log_writer: Option<AccessLogWriter>,
}

/// Starts the thread.
///
/// # Errors
/// When the system has no thread left.
pub(crate) fn start(service: Service) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let work = move || {
        // A signal is for Python's main thread; the kernel would else choose this one as well.
        block_signals();
        runtime.block_on(attend(service));
    };
    std::thread::Builder::new().name("supervise-service".into()).stack_size(STACK_BYTES).spawn(work)?;
    Ok(())
}

async fn attend(service: Service) {
    let Service {
        from_supervisor,
        reporter,
        heartbeat_interval,
        pulse,
        gauge,
        orders,
        security,
        boot,
        log_writer,
    } = service;
    let obey = |order| match order {
        ToWorker::Drain { grace_ms } => {
            if !boot.is_imported.load(Ordering::Acquire) {
                leave(0);
            }
            orders.put(Departure::Drain { grace: Duration::from_millis(grace_ms) });
        }
        ToWorker::ReloadCertificates => security.renew(),
        ToWorker::ReopenLogs => {
            if let Some(log_writer) = &log_writer {
                log_writer.reopen();
            }
        }
    };
    let load = || gauge.load();
    let end = supervision::attend(from_supervisor, &reporter, heartbeat_interval, &pulse, load, obey).await;
    if let ChannelEnd::Garbled(error) = &end {
        tracing::error!(%error, "the supervisor speaks another language; leaving");
    }
    // Nothing is in flight yet, and an import may take for ever.
    if !boot.is_imported.load(Ordering::Acquire) {
        leave(0);
    }
    orders.put(Departure::Orphaned);
    tokio::time::sleep(ORPHAN_GRACE).await;
    leave(0);
}

/// Makes sure that the process is gone after this time, whatever threads the application left behind: Python waits for them
/// without a bound.
pub(crate) fn leave_after(time: Duration, code: i32) {
    let wait = move || {
        block_signals();
        std::thread::park_timeout(time);
        leave(code);
    };
    let started = std::thread::Builder::new().name("supervise-exit".into()).stack_size(32 * 1024).spawn(wait);
    if let Err(error) = started {
        tracing::warn!(%error, "no thread for the end of the grace: a hung application will not be cut off");
    }
}

/// For threads that are not Python's: the kernel chooses any thread that lets a signal through.
pub(crate) fn block_signals() {
    let _refused = nix::sys::signal::SigSet::all().thread_block();
}

/// Ends the process without Python: no finalizer, no atexit.
fn leave(code: i32) -> ! {
    // SAFETY: _exit takes a number and never returns.
    unsafe { libc::_exit(code) }
}
