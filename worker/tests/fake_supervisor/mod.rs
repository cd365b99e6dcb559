//! A supervisor of twenty lines: starts one worker with everything that it inherits, reads what it reports, and shows its shared
//! memory. Every wait has a deadline; what a worker leaves behind is killed when this is dropped.

use std::{
    fs::File,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
    process::{Child, Command, ExitStatus, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FcntlArg, FdFlag, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::memfd::{MFdFlags, memfd_create},
    sys::signal::{Signal, kill},
    unistd::{Pid, pipe2},
};
use protocol::{
    FromWorker, ToWorker, defaults,
    evidence::{self, RequestInFlight},
    frame::{self, Decoder},
    inherited,
    scoreboard::{self, LAYOUT_VERSION, MAGIC, MAX_RECORDS},
    settings::{Application, WorkerSettings},
};

/// Far above what anything here needs; only a broken worker meets it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One supervised worker.
pub(crate) struct Supervised {
    child: Child,
    orders: Option<File>,
    reports: File,
    /// The worker's end, to see whether it is full.
    reports_in: OwnedFd,
    decoder: Decoder,
    scoreboard: File,
    evidence: File,
    pub(crate) address: SocketAddr,
    _listener: TcpListener,
}

/// What a worker is started with.
pub(crate) struct Start {
    pub(crate) application: Application,
    pub(crate) heartbeat_interval_ms: u64,
    /// Overrides variables of the contract.
    pub(crate) variables: Vec<(&'static str, String)>,
}

impl Start {
    pub(crate) fn welcome() -> Self {
        Self::of(Application::Welcome)
    }

    pub(crate) fn of(application: Application) -> Self {
        Self { application, heartbeat_interval_ms: 50, variables: Vec::new() }
    }

    /// The example application, which cargo builds beside the tests.
    pub(crate) fn axum() -> Self {
        let tests = std::env::current_exe().unwrap();
        let program = tests.parent().unwrap().parent().unwrap().join("examples/axum");
        assert!(program.exists(), "{} is not built", program.display());
        Self::of(Application::Native { program })
    }
}

impl Supervised {
    pub(crate) fn start(start: Start) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (orders_in, orders) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let (reports, reports_out) = pipe2(OFlag::O_CLOEXEC).unwrap();
        // The smallest pipe that there is: soon full.
        fcntl(&reports, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
        let scoreboard = scoreboard();
        let evidence: File = memfd_create(c"evidence", MFdFlags::MFD_CLOEXEC).unwrap().into();
        evidence.set_len(evidence::SIZE_BYTES as u64).unwrap();
        let settings = WorkerSettings {
            application: start.application,
            heartbeat_interval_ms: start.heartbeat_interval_ms,
            graceful_timeout_ms: 5_000,
            http: defaults::HTTP,
            tls: None,
            forwarding: defaults::forwarding(),
            access_log: None,
            websocket: defaults::WEBSOCKET,
            reply_fields: defaults::reply_fields(),
            log_level: "info".to_owned(),
            log_format: "text".to_owned(),
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
        command
            .stdin(Stdio::null())
            .current_dir("/")
            .env(inherited::SETTINGS, serde_json::to_string(&settings).unwrap());
        let number = |descriptor: &dyn AsRawFd| descriptor.as_raw_fd().to_string();
        command
            .env(inherited::CONTROL_IN, number(&orders_in))
            .env(inherited::CONTROL_OUT, number(&reports_out))
            .env(inherited::LISTENERS, number(&listener))
            .env(inherited::SCOREBOARD, number(&scoreboard))
            .env(inherited::SCOREBOARD_RECORD, "3")
            .env(inherited::EVIDENCE, number(&evidence))
            .env(inherited::SLOT, "1")
            .env(inherited::GENERATION, "1")
            .envs(start.variables);
        let inherited =
            [orders_in.as_fd(), reports_out.as_fd(), listener.as_fd(), scoreboard.as_fd(), evidence.as_fd()];
        let child = spawn(&mut command, &inherited);
        Self {
            child,
            orders: Some(orders.into()),
            reports: reports.into(),
            reports_in: reports_out,
            decoder: Decoder::default(),
            scoreboard,
            evidence,
            address,
            _listener: listener,
        }
    }

    /// The next report, whichever it is.
    pub(crate) fn report(&mut self) -> FromWorker {
        self.report_within(PATIENCE).expect("no report came")
    }

    /// The next report that is no heartbeat.
    pub(crate) fn news(&mut self) -> FromWorker {
        loop {
            match self.report() {
                FromWorker::Heartbeat { .. } => {}
                report => return report,
            }
        }
    }

    /// The next report, if one comes in that time.
    pub(crate) fn report_within(&mut self, patience: Duration) -> Option<FromWorker> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(report) = self.decoder.next_message().expect("a frame is broken") {
                return Some(report);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !is_readable(&self.reports, left) {
                return None;
            }
            let mut buffer = [0; 8192];
            let length = self.reports.read(&mut buffer).unwrap();
            self.decoder.push(&buffer[..length]);
        }
    }

    /// Reads reports until the worker is ready.
    pub(crate) fn until_ready(mut self) -> Self {
        while self.news() != FromWorker::Ready {}
        self
    }

    pub(crate) fn order(&mut self, order: &ToWorker) {
        let line = frame::encode(order).unwrap();
        self.orders.as_mut().expect("the supervisor is dead").write_all(&line).unwrap();
    }

    pub(crate) fn drain(&mut self, grace_ms: u64) {
        self.order(&ToWorker::Drain { grace_ms });
    }

    /// Dies, as the worker sees it.
    pub(crate) fn die(&mut self) {
        self.orders = None;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Waits for the exit, and tells how long it took.
    pub(crate) fn exit(&mut self) -> (ExitStatus, Duration) {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, started.elapsed());
            }
            pause();
        }
        panic!("the worker does not leave");
    }

    /// Whether the worker's next report would meet a full pipe.
    pub(crate) fn reports_are_stuck(&self) -> bool {
        let mut interest = [PollFd::new(self.reports_in.as_fd(), PollFlags::POLLOUT)];
        poll(&mut interest, PollTimeout::ZERO).unwrap() == 0
    }

    pub(crate) fn requests_in_flight(&self) -> Vec<RequestInFlight> {
        let mut memory = vec![0; evidence::SIZE_BYTES];
        self.evidence.read_exact_at(&mut memory, 0).unwrap();
        evidence::requests_in_flight(&memory)
    }

    pub(crate) fn evidence_text(&self) -> String {
        let mut memory = vec![0; evidence::SIZE_BYTES];
        self.evidence.read_exact_at(&mut memory, 0).unwrap();
        evidence::text(&memory)
    }

    /// A counter of the worker's record, by its place.
    pub(crate) fn counter(&self, counter: scoreboard::Counter) -> u64 {
        let mut bytes = [0; 8];
        let offset = scoreboard::record_offset(3) + 8 * counter as usize;
        self.scoreboard.read_exact_at(&mut bytes, offset as u64).unwrap();
        u64::from_ne_bytes(bytes)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// One request on a connection of its own; the whole reply.
    pub(crate) fn get(&self, path: &str) -> String {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }
}

/// Spawns a child that inherits these descriptors and no others. One at a time: while the flag is off, any child would.
fn spawn(command: &mut Command, inherited: &[BorrowedFd<'_>]) -> Child {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap();
    for descriptor in inherited {
        fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    }
    let child = command.spawn().unwrap();
    for descriptor in inherited {
        fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    }
    child
}

fn scoreboard() -> File {
    let file: File = memfd_create(c"scoreboard", MFdFlags::MFD_CLOEXEC).unwrap().into();
    file.set_len(scoreboard::SIZE_BYTES as u64).unwrap();
    for (place, word) in [MAGIC, LAYOUT_VERSION, u32::try_from(MAX_RECORDS).unwrap()].into_iter().enumerate()
    {
        file.write_all_at(&word.to_ne_bytes(), 4 * place as u64).unwrap();
    }
    file
}

fn is_readable(file: &File, patience: Duration) -> bool {
    let mut interest = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
    let patience = PollTimeout::try_from(patience).unwrap();
    poll(&mut interest, patience).unwrap() > 0
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Waits for a condition.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        pause();
    }
}

/// Between two looks at a condition.
fn pause() {
    std::thread::park_timeout(Duration::from_millis(2));
}
