//! One supervised server: started with the given options in a directory of its own, watched while it runs, and checked at its
//! end: whatever it leaves behind (process, port, socket file) fails the test.

use std::{
    fmt::Write as _,
    io::{PipeReader, PipeWriter},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ExitStatus},
    thread::panicking,
    time::Duration,
};

use crate::{
    Metrics, Output, TestDirectory, http,
    patience::try_wait_for,
    patient,
    processes::{self, Process, Signal},
    wait_for, wait_until, write_atomically,
};

/// Marks every process of one server, so that orphans are found too.
pub(crate) const MARK: &str = "TEST_SERVER_MARK";
/// A start with a slow import on a loaded machine.
const START_LIMIT: Duration = Duration::from_secs(30);
/// A stop with everything in flight.
const STOP_LIMIT: Duration = Duration::from_secs(40);

/// A started server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// What it prints on stderr.
    pub log: Output,
    /// What it prints on stdout.
    pub stdout: Output,
    mark: String,
    directory: TestDirectory,
    command_line: String,
    status: Option<ExitStatus>,
    unread: Vec<(PipeReader, PipeWriter)>,
    listens: Listens,
}

/// Whose the sockets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listens {
    /// The server's: nobody listens there after its end.
    AtOwnAddress,
    /// The test's, which goes on listening.
    AtHandedSockets,
}

/// How a reload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// The new code serves.
    Ok,
    /// The settings were bad; nothing was tried.
    Rejected,
    /// The new code could not serve; the old one goes on.
    Failed,
}

impl Reloaded {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ok, Self::Rejected, Self::Failed];

    /// Its label in `supervise_reloads_total`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }
}

/// A worker, as its process shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Process id.
    pub pid: u32,
    /// Slot number.
    pub slot: u32,
    /// Generation number.
    pub generation: u32,
}

impl Server {
    pub(crate) fn new(
        child: Child,
        [stdout, log]: [Output; 2],
        mark: String,
        directory: TestDirectory,
        command_line: String,
        unread: Vec<(PipeReader, PipeWriter)>,
        listens: Listens,
    ) -> Self {
        Self { child, log, stdout, mark, directory, command_line, status: None, unread, listens }
    }

    /// The supervisor's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The directory that it runs in.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Puts a file into the server's directory, replacing it at once.
    pub fn write_file(&self, name: &str, text: &str) {
        write_atomically(&self.directory.join(name), text);
    }

    /// Waits for the line that says that all workers answer.
    ///
    /// # Panics
    /// When it does not come.
    pub fn wait_until_ready(&self) {
        let _ = self.log.wait_for_line("ready: ", START_LIMIT);
    }

    /// The TCP address that it listens on, as it printed it.
    ///
    /// # Panics
    /// When it printed none.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.printed_address("listening on http://")
    }

    /// The address of `/metrics`, as it printed it.
    ///
    /// # Panics
    /// When it printed none.
    #[must_use]
    pub fn metrics_address(&self) -> SocketAddr {
        self.printed_address("metrics on http://")
    }

    fn printed_address(&self, before: &str) -> SocketAddr {
        let line = self.log.wait_for_line(before, START_LIMIT);
        let (_, after) = line.split_once(before).expect("the line was found by this text");
        let end = after
            .find(|c: char| c == '/' || c == '"' || c == ',' || c.is_whitespace())
            .unwrap_or(after.len());
        after[..end].parse().unwrap_or_else(|error| panic!("{line:?} names no address: {error}"))
    }

    /// A scrape of `/metrics`.
    ///
    /// # Panics
    /// When it is not answered with 200.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let reply = http::get(self.metrics_address(), "/metrics").expect("/metrics is answered");
        assert_eq!(reply.status, 200, "/metrics: {}", reply.text());
        Metrics::parse(&reply.text())
    }

    /// Waits until a sum over /metrics reaches `at_least`.
    ///
    /// # Panics
    /// When it does not.
    pub fn wait_for_metric(&self, name: &str, labels: &[(&str, &str)], at_least: f64, within: Duration) {
        wait_until(&format!("{name} {labels:?} >= {at_least}"), within, || {
            self.metrics().sum(name, labels) >= at_least
        });
    }

    /// The living workers: children of the supervisor that were told their slot.
    #[must_use]
    pub fn workers(&self) -> Vec<Worker> {
        let children = processes::children_of(self.pid()).into_iter().filter(|child| !child.is_zombie());
        let mut workers: Vec<Worker> = children.filter_map(|child| worker_of(child.pid)).collect();
        workers.sort_by_key(|worker| (worker.slot, worker.generation));
        workers
    }

    /// Every living process of this server, orphans included.
    #[must_use]
    pub fn processes(&self) -> Vec<Process> {
        let mut processes = processes::with_environment(MARK, &self.mark);
        processes.retain(|process| !process.is_zombie());
        processes
    }

    /// Sends the supervisor a signal.
    pub fn signal(&self, signal: Signal) {
        // Not yet reaped by this test, so the id cannot belong to anybody else.
        if self.status.is_none() {
            processes::send_signal(self.pid(), signal);
        }
    }

    /// Sends HUP and waits for the outcome, as `supervise_reloads_total` counts it.
    ///
    /// # Panics
    /// When there is no outcome.
    pub fn reload(&self) -> Reloaded {
        let before = Reloaded::ALL.map(|result| self.reloads(result));
        self.signal(Signal::SIGHUP);
        wait_for("the outcome of a reload", START_LIMIT, || {
            let grown = |&(index, result): &(usize, Reloaded)| self.reloads(result) > before[index];
            Reloaded::ALL.into_iter().enumerate().find(grown).map(|(_, result)| result)
        })
    }

    /// How many reloads ended like this.
    ///
    /// # Panics
    /// When /metrics is not answered.
    #[must_use]
    pub fn reloads(&self, result: Reloaded) -> f64 {
        self.metrics().sum("supervise_reloads_total", &[("result", result.label())])
    }

    /// Workers started in place of dead ones, by the reason of the death; all reasons for "".
    ///
    /// # Panics
    /// When /metrics is not answered.
    #[must_use]
    pub fn restarts(&self, reason: &str) -> f64 {
        let labels: &[(&str, &str)] = if reason.is_empty() { &[] } else { &[("reason", reason)] };
        self.metrics().sum("supervise_worker_restarts_total", labels)
    }

    /// Waits until as many workers are ready.
    ///
    /// # Panics
    /// When they do not become ready.
    pub fn wait_for_ready_workers(&self, count: u32) {
        wait_until(&format!("{count} ready workers"), START_LIMIT, || {
            self.ready_workers() == f64::from(count)
        });
    }

    /// Workers that are ready now.
    ///
    /// # Panics
    /// When /metrics is not answered.
    #[must_use]
    pub fn ready_workers(&self) -> f64 {
        self.metrics().sum("supervise_workers", &[("state", "ready")])
    }

    /// Waits for the supervisor's exit.
    ///
    /// # Panics
    /// When it does not come.
    pub fn wait_for_exit(&mut self, within: Duration) -> ExitStatus {
        let child = &mut self.child;
        let status =
            wait_for("the exit of the supervisor", within, || child.try_wait().expect("it is our child"));
        self.status = Some(status);
        self.log.wait_for_end(Duration::from_secs(2));
        self.stdout.wait_for_end(Duration::from_secs(2));
        status
    }

    /// TERM, and the checks of a clean stop: exit code 0, nothing left.
    ///
    /// # Panics
    /// When it is not clean.
    pub fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.wait_for_exit(STOP_LIMIT);
        assert_eq!(status.code(), Some(0), "exit status after TERM: {status}");
    }

    /// What it leaves behind after its end, in plain words; empty when there is nothing.
    fn leftovers(&self) -> String {
        let mut found = String::new();
        let _ = try_wait_for(Duration::from_secs(3), || self.processes().is_empty().then_some(()));
        for process in self.processes() {
            let _ = writeln!(found, "process {} ({}, state {})", process.pid, process.name, process.state);
            processes::send_signal(process.pid, Signal::SIGKILL);
        }
        for before in ["listening on http://", "metrics on http://"] {
            let is_handed = before.starts_with("listening") && self.listens == Listens::AtHandedSockets;
            if self.log.has_line(before) && !is_handed {
                let address = self.printed_address(before);
                if TcpStream::connect_timeout(&address, patient(Duration::from_secs(1))).is_ok() {
                    let _ = writeln!(found, "something still listens on {address}");
                }
            }
        }
        for file in socket_files(self.directory.path()) {
            let _ = writeln!(found, "socket file {}", file.display());
        }
        found
    }

    /// Ends the supervisor if the test did not; what it had to do is returned in plain words.
    fn end(&mut self) -> String {
        if self.status.is_some() || matches!(self.child.try_wait(), Ok(Some(_))) {
            return String::new();
        }
        // Stopped processes cannot drain.
        for process in self.processes() {
            processes::send_signal(process.pid, Signal::SIGCONT);
        }
        self.signal(Signal::SIGTERM);
        let child = &mut self.child;
        if try_wait_for(Duration::from_secs(10), || child.try_wait().ok().flatten()).is_some() {
            return String::new();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        "the supervisor did not stop within 10 s of TERM and was killed\n".to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let was_orphaned = self.status.is_some_and(|status| status.code().is_none());
        let mut trouble = self.end();
        self.unread.clear();
        let left = self.leftovers();
        // A supervisor that was killed cannot remove its socket file; the next start replaces it.
        if !was_orphaned || left.contains("process") {
            trouble.push_str(&left);
        }
        if panicking() || !trouble.is_empty() {
            println!(
                "--- {}\n--- stdout:\n{}\n--- log:\n{}",
                self.command_line,
                self.stdout.text(),
                self.log.text()
            );
        }
        assert!(trouble.is_empty() || panicking(), "left behind:\n{trouble}");
        if !trouble.is_empty() {
            println!("left behind:\n{trouble}");
        }
    }
}

fn worker_of(pid: u32) -> Option<Worker> {
    let number = |name| processes::environment_variable(pid, name)?.parse().ok();
    let slot = number(protocol::inherited::SLOT)?;
    let generation = number(protocol::inherited::GENERATION)?;
    Some(Worker { pid, slot, generation })
}

fn socket_files(directory: &Path) -> Vec<PathBuf> {
    use std::os::unix::fs::FileTypeExt;
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let is_socket = |path: &PathBuf| path.symlink_metadata().is_ok_and(|meta| meta.file_type().is_socket());
    entries.map(|entry| entry.path()).filter(is_socket).collect()
}
