//! A worker without a supervisor: where it listens, how it leaves, and what it refuses.

#![expect(clippy::unwrap_used, reason = "what a test cannot do without ends it")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, ChildStderr, Command, Output, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Far above what anything here needs; only a broken worker meets it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A worker that runs alone; killed when dropped.
struct Alone {
    child: Child,
    _stderr: BufReader<ChildStderr>,
    address: SocketAddr,
}

impl Alone {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let address = line
            .trim()
            .strip_prefix("listening on http://")
            .unwrap_or_else(|| panic!("no address in {line:?}"));
        let address = address.parse().unwrap();
        Self { child, _stderr: stderr, address }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }

    fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
        panic!("the worker does not leave");
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn worker() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
    command.env_remove("PORT").env_remove("HOST");
    command
}

fn axum() -> String {
    let tests = std::env::current_exe().unwrap();
    tests.parent().unwrap().parent().unwrap().join("examples/axum").to_str().unwrap().to_owned()
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn it_serves_the_welcome_app_and_leaves_with_0() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut alone = Alone::start(worker().args(["--bind", "127.0.0.1:0"]));
        assert!(alone.get("/").contains("<title>supervise is running</title>"));
        assert!(alone.get("/healthz").ends_with("\r\n\r\nok\n"));
        assert!(alone.get("/nowhere").starts_with("HTTP/1.1 404 "));
        alone.signal(signal);
        assert_eq!(alone.exit_code(), Some(0));
    }
}

#[test]
fn a_second_signal_leaves_at_once() {
    let mut alone = Alone::start(worker().args(["--bind", "127.0.0.1:0", &axum()]));
    let mut endless = TcpStream::connect(alone.address).unwrap();
    endless.write_all(b"GET /slow?ms=60000 HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    // Answered after the endless one was begun, because both are on one thread.
    assert!(alone.get("/version").starts_with("HTTP/1.1 200 "));
    alone.signal(Signal::SIGTERM);
    // The first is acted upon when nobody accepts any more; two pending signals would count as one.
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(alone.address).is_ok() {
        assert!(Instant::now() < deadline, "the first signal is not acted upon");
    }
    alone.signal(Signal::SIGTERM);
    assert_eq!(alone.exit_code(), Some(0));
}

#[test]
fn the_environment_says_where_to_listen_when_no_bind_does() {
    let alone = Alone::start(worker().env("HOST", "127.0.0.1").env("PORT", "0"));
    assert!(alone.get("/healthz").ends_with("ok\n"));
}

#[test]
fn a_native_application_started_by_hand_binds_for_itself() {
    let mut alone = Alone::start(Command::new(axum()).args(["--bind", "127.0.0.1:0"]));
    assert!(alone.get("/json").ends_with(r#"{"message":"hello, world","numbers":[1,2,3]}"#));
    alone.signal(Signal::SIGTERM);
    assert_eq!(alone.exit_code(), Some(0));
}

#[test]
fn a_unix_socket_is_replaced_when_stale_and_refused_when_alive() {
    let path = std::env::temp_dir().join(format!("worker-alone-{}.sock", std::process::id()));
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let bind = format!("unix:{}", path.display());
    let mut child = worker().args(["--bind", &bind]).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim(), format!("listening on {bind}"));
    let refused = run(worker().args(["--bind", &bind]));
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_file(path).unwrap();
    assert!(reply.ends_with("ok\n"), "{reply}");
    assert_eq!(refused.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("another process is listening there"));
}

#[test]
fn what_cannot_be_done_is_refused_in_one_message_with_its_exit_code() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (arguments, exit_code, part) in [
        (vec!["--bind", &taken], 69, "in use"),
        (vec!["--bind", "nonsense"], 2, "host:port"),
        (vec!["--no-such-option"], 2, "--no-such-option"),
        (vec!["--worker-class", "gevent"], 2, "gevent"),
        (vec!["--python", "/usr/bin/python3"], 2, "--python is for Python applications"),
        (vec!["--env", "A=B"], 2, "--env has no meaning"),
        (vec!["myapp"], 2, "`worker myapp:app`"),
        (vec!["--limit-queue", "5"], 2, "--limit-concurrency"),
        (vec!["--queue-timeout", "5s"], 2, "--limit-concurrency"),
        (vec!["--request-timeout", "0"], 2, "no time is no bound"),
        (vec!["--worker-connections", "0"], 2, "--worker-connections"),
        (vec!["/no/such/program", "--bind", "127.0.0.1:0"], 4, "there is no such program"),
        (
            vec!["a:b", "--python", "/no/such/python", "--bind", "127.0.0.1:0"],
            3,
            "/no/such/python: no such file",
        ),
        (vec!["--chdir", "/no/such/directory"], 2, "/no/such/directory"),
    ] {
        let output = run(worker().args(&arguments));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit_code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(part), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn out_of_descriptors_it_waits_and_then_goes_on() {
    let line = format!("ulimit -n 32; exec {} --bind 127.0.0.1:0", env!("CARGO_BIN_EXE_worker"));
    let alone = Alone::start(Command::new("sh").args(["-c", &line]));
    let crowd: Vec<TcpStream> = (0..50).map(|_| TcpStream::connect(alone.address).unwrap()).collect();
    let mut waiting = TcpStream::connect(alone.address).unwrap();
    waiting.set_read_timeout(Some(PATIENCE)).unwrap();
    waiting.write_all(b"GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    // More than the limit are connected: whoever is in the queue cannot be accepted before some have left.
    waiting.set_nonblocking(true).unwrap();
    assert!(waiting.read(&mut [0; 1]).is_err());
    waiting.set_nonblocking(false).unwrap();
    drop(crowd);
    let mut reply = [0; 15];
    waiting.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"HTTP/1.1 200 OK");
}

/// A connection that has sent `request` and waits for the reply.
fn asking(alone: &Alone, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(alone.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn all_of(mut stream: TcpStream) -> String {
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

const SLOW: &str = "GET /slow?ms=60000 HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";

#[test]
fn it_has_the_bounds_of_requests_that_a_supervised_one_has() {
    let alone = Alone::start(worker().args(["--bind", "127.0.0.1:0", &axum()]).args([
        "--limit-concurrency",
        "1",
        "--limit-queue",
        "1",
        "--queue-timeout",
        "500ms",
        "--request-timeout",
        "2s",
    ]));
    let began = Instant::now();
    let [active, queued] = [asking(&alone, SLOW), asking(&alone, SLOW)];
    let full = alone.get("/version");
    assert!(full.starts_with("HTTP/1.1 503 ") && full.contains("retry-after: "), "{full}");
    let late = all_of(queued);
    assert!(late.starts_with("HTTP/1.1 503 "), "{late}");
    assert!(began.elapsed() >= Duration::from_millis(500), "its turn might have come");
    let overdue = all_of(active);
    assert!(overdue.starts_with("HTTP/1.1 503 "), "{overdue}");
    assert!(began.elapsed() >= Duration::from_secs(2), "it might have been answered");
    assert!(alone.get("/version").starts_with("HTTP/1.1 200 "), "its place is free again");
}

#[test]
fn it_has_the_bounds_of_connections_and_bodies_that_a_supervised_one_has() {
    let arguments = ["--bind", "127.0.0.1:0", "--worker-connections", "1", "--min-body-rate", "1000"];
    let alone = Alone::start(worker().args(arguments).arg(axum()));
    let trickling = asking(&alone, "POST /upload HTTP/1.1\r\nhost: test\r\ncontent-length: 9\r\n\r\na");
    let mut waiting = asking(&alone, "GET /version HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    waiting.set_nonblocking(true).unwrap();
    assert!(waiting.read(&mut [0; 1]).is_err(), "it is in the kernel's queue");
    waiting.set_nonblocking(false).unwrap();
    let began = Instant::now();
    let late = all_of(trickling);
    assert!(late.starts_with("HTTP/1.1 408 "), "{late}");
    assert!(began.elapsed() < Duration::from_secs(15), "by its rate, not by its silence of 30 s");
    assert!(all_of(waiting).starts_with("HTTP/1.1 200 "), "the place is free");
}
