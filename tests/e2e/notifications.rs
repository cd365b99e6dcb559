//! Promise: systemd, or whoever listens at NOTIFY_SOCKET, is told the truth: ready when workers answer, each reload from its begin to
//! its outcome, the stop with the time that it may take, a line of status, and signs of life as long as the supervisor decides.

use std::{
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::Duration,
};

use harness::{
    Guest, Machine, Python, Reloaded, ServerBuilder, TestDirectory, http, observe_for,
    processes::{self, Signal},
    wait_for,
};

use crate::guest;

const SOON: Duration = Duration::from_secs(20);

/// The end of the line at which systemd sits.
struct Listener {
    socket: UnixDatagram,
    name: String,
    _directory: TestDirectory,
}

impl Listener {
    fn at_a_path() -> Self {
        let directory = TestDirectory::new();
        let path = directory.join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        Self::new(socket, path.to_str().expect("a path of text").to_owned(), directory)
    }

    fn at_an_abstract_name() -> Self {
        let directory = TestDirectory::new();
        let name = format!("{}/notify", directory.path().display());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("a socket");
        Self::new(socket, format!("@{name}"), directory)
    }

    fn new(socket: UnixDatagram, name: String, directory: TestDirectory) -> Self {
        socket.set_nonblocking(true).expect("a socket can be non-blocking");
        Self { socket, name, _directory: directory }
    }

    /// Gives the server our address.
    fn at<'m>(&self, server: ServerBuilder<'m>) -> ServerBuilder<'m> {
        server.environment("NOTIFY_SOCKET", &self.name)
    }

    fn next(&self) -> Option<String> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).expect("a message is text"))
    }

    /// Skips to the next message that has this line, or a line that begins so.
    #[track_caller]
    fn wait_for(&self, line: &str) -> String {
        let is_it = |message: &String| message.lines().any(|other| other.starts_with(line));
        wait_for(&format!("{line} at NOTIFY_SOCKET"), SOON, || std::iter::from_fn(|| self.next()).find(is_it))
    }
}

#[test]
fn ready_reload_and_stop_are_told() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let systemd = Listener::at_a_path();
    // The import takes a while: nobody is ready before its end.
    let server = systemd.at(guest::plain(&machine, &python, 2).file("version.py", &guest::version(0, 1.0)));
    let server = server.arguments(["--graceful-timeout", "100"]).spawn();
    assert_eq!(
        wait_for("the first word", SOON, || systemd.next()),
        "STATUS=0 of 2 workers ready, generation 1"
    );
    let ready = systemd.wait_for("READY=1");
    assert!(http::get(server.address(), "/").is_ok_and(|reply| reply.status == 200), "ready is ready");
    assert!(ready.contains(&format!("\nMAINPID={}\n", server.pid())), "{ready}");
    assert!(ready.ends_with("STATUS=2 of 2 workers ready, generation 1"), "{ready}");
    for worker in server.workers() {
        assert_eq!(processes::environment_variable(worker.pid, "NOTIFY_SOCKET"), None);
    }

    server.write_file("version.py", &guest::version(1, 0.0));
    let before = monotonic_us();
    assert_eq!(server.reload(), Reloaded::Ok);
    let reloading = systemd.wait_for("RELOADING=1");
    let clock = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    let clock: u64 = clock.and_then(|clock| clock.parse().ok()).unwrap_or_else(|| panic!("{reloading}"));
    assert!((before..=monotonic_us()).contains(&clock), "{before}: {reloading}");
    assert!(systemd.wait_for("READY=1").ends_with("STATUS=2 of 2 workers ready, generation 2"));

    server.write_file("version.py", "raise RuntimeError('oops')\n");
    assert_eq!(server.reload(), Reloaded::Failed);
    let _ = systemd.wait_for("RELOADING=1");
    let failed = systemd.wait_for("READY=1");
    assert!(failed.contains("STATUS=2 of 2 workers ready, generation 2; reload failed: "), "{failed}");
    assert!(failed.contains("oops"), "{failed}");
    assert_eq!(failed.lines().count(), 2, "{failed}");

    server.signal(Signal::SIGTERM);
    let stopping = systemd.wait_for("STOPPING=1");
    let line = |prefix| stopping.lines().find_map(|line: &str| line.strip_prefix(prefix));
    let extended: u64 = line("EXTEND_TIMEOUT_USEC=").and_then(|time| time.parse().ok()).expect("a time");
    assert!(extended >= 100_000_000, "{stopping}");
    assert!(line("STATUS=stopping: ").is_some(), "{stopping}");
    server.stop();
}

fn monotonic_us() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("every Linux has it");
    time.tv_sec().unsigned_abs() * 1_000_000 + time.tv_nsec().unsigned_abs() / 1_000
}

#[test]
fn a_rejected_reload_ends_in_ready_and_an_abstract_name_is_heard() {
    let machine = Machine::shared();
    let systemd = Listener::at_an_abstract_name();
    let server = machine.server().file("supervise.yaml", "workers: 1\n");
    let server = systemd.at(server).start();
    let _ = systemd.wait_for("READY=1");
    server.write_file("supervise.yaml", "wrokers: 1\n");
    assert_eq!(server.reload(), Reloaded::Rejected);
    let _ = systemd.wait_for("RELOADING=1");
    let rejected = systemd.wait_for("READY=1");
    assert!(rejected.contains("STATUS=1 of 1 worker ready, generation 1; reload rejected: "), "{rejected}");
    // What is lost and what comes back.
    let [ref worker] = server.workers()[..] else { panic!("one worker") };
    processes::send_signal(worker.pid, Signal::SIGKILL);
    let _ = systemd.wait_for("STATUS=0 of 1 worker ready, generation 1");
    let _ = systemd.wait_for("STATUS=1 of 1 worker ready, generation 1");
    server.stop();
}

#[test]
fn signs_of_life_come_from_the_loop_that_decides() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let systemd = Listener::at_a_path();
    let server = machine.server().guest(Guest::PLAIN, &python).file("version.py", &guest::version(0, 0.0));
    let server = systemd.at(server).environment("WATCHDOG_USEC", "400000").arguments(["app:app"]).start();
    let _ = systemd.wait_for("READY=1");
    for _ in 0..5 {
        let _ = systemd.wait_for("WATCHDOG=1");
    }
    for worker in server.workers() {
        assert_eq!(processes::environment_variable(worker.pid, "WATCHDOG_USEC"), None);
    }
    server.signal(Signal::SIGSTOP);
    wait_for("the supervisor stands still", SOON, || {
        processes::Process::find(server.pid()).filter(|process| process.state == 'T')
    });
    while systemd.next().is_some() {}
    observe_for(Duration::from_secs(1), || {
        assert_eq!(systemd.next(), None, "nobody decides, and says he does");
    });
    server.signal(Signal::SIGCONT);
    let _ = systemd.wait_for("WATCHDOG=1");
    server.stop();
}

#[test]
fn the_watchdog_of_another_process_is_not_fed() {
    let machine = Machine::shared();
    let systemd = Listener::at_a_path();
    let server = machine.server().environment("WATCHDOG_USEC", "20000").environment("WATCHDOG_PID", "1");
    let server = systemd.at(server).start();
    let _ = systemd.wait_for("READY=1");
    server.signal(Signal::SIGHUP);
    // A hundred signs of life would have come by now.
    wait_for("the end of the reload", SOON, || {
        let message = systemd.next()?;
        assert!(!message.contains("WATCHDOG"), "{message}");
        message.contains("READY=1").then_some(())
    });
    server.stop();
}
