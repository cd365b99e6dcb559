//! One server under measurement: started on its processor, waited for, stopped with all that it started.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        time::{TimeSpec, TimeValLike},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use crate::process_tree;

/// A server that has not answered by then will not.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// A server that has not left by then is killed, which is its own affair and no failure of the measurement.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// How often a starting server is tried: a fiftieth of the fastest start that is measured.
const START_CHECK: Duration = Duration::from_micros(250);
const STOP_CHECK: Duration = Duration::from_millis(2);

/// How a server is asked whether it is there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Probe<'a> {
    /// By this request.
    Http1(&'a [u8]),
    /// HTTP/2 by prior knowledge.
    Http2,
    /// HTTP/1.1 over TLS; any certificate will do.
    Https,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
    /// From exec to the first 200.
    pub(crate) start_time: Duration,
    /// The body of the first 200.
    pub(crate) first_body: Vec<u8>,
}

/// A port of loopback that was free a moment ago.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

impl Server {
    /// Starts `command`, which must listen on `address`, and returns when it has answered `probe` with a 200.
    pub(crate) fn start(
        command: &mut Command,
        address: SocketAddr,
        probe: Probe<'_>,
        log: &Path,
    ) -> io::Result<Self> {
        let output = File::create(log)?;
        let began = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).spawn();
        let child = child.map_err(|error| io::Error::other(format!("cannot run {command:?}: {error}")))?;
        let mut server =
            Server { child, log: log.to_path_buf(), start_time: Duration::ZERO, first_body: Vec::new() };
        match server.first_answer(address, probe, began) {
            Ok(body) => {
                server.start_time = began.elapsed();
                server.first_body = body;
                Ok(server)
            }
            Err(error) => {
                let log = server.output();
                server.stop()?;
                Err(io::Error::other(format!("{error}; it was: {command:?}; its output:\n{log}")))
            }
        }
    }

    /// The process that was started; what it started are its descendants.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// TERM, then KILL to whatever of the tree is left.
    pub(crate) fn stop(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        let tree = process_tree::pids(self.pid())?;
        kill(Pid::from_raw(self.pid()), Signal::SIGTERM).or_else(gone_is_fine)?;
        let deadline = Instant::now() + STOP_PATIENCE;
        while self.child.try_wait()?.is_none() && Instant::now() < deadline {
            pause(STOP_CHECK);
        }
        self.child.kill()?;
        self.child.wait()?;
        // What the server left behind has become our child (see main: subreaper), so that its id cannot be reused before this.
        for pid in tree.into_iter().filter(|pid| *pid != self.child.id().cast_signed()) {
            while is_our_child(pid) {
                kill(Pid::from_raw(pid), Signal::SIGKILL).or_else(gone_is_fine)?;
                pause(STOP_CHECK);
            }
        }
        Ok(())
    }

    /// What it wrote to its standard output and error.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn first_answer(&mut self, address: SocketAddr, probe: Probe<'_>, began: Instant) -> io::Result<Vec<u8>> {
        loop {
            let answered = match probe {
                Probe::Http1(request) => ask(address, request),
                Probe::Http2 | Probe::Https => ask_by_curl(address, probe),
            };
            match answered {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                answered => return answered,
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("the server left before it answered: {status}")));
            }
            if began.elapsed() > START_PATIENCE {
                return Err(io::Error::other("the server does not listen"));
            }
            pause(START_CHECK);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait()
            && let Err(error) = self.end()
        {
            eprintln!("bench: a server could not be stopped: {error}");
        }
    }
}

/// One request on a connection of its own; the body of its answer, which must be a 200.
fn ask(address: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(START_PATIENCE))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    let mut buffer = [0; 16384];
    loop {
        let count = stream.read(&mut buffer)?;
        answer.extend_from_slice(&buffer[..count]);
        if count == 0 {
            return Err(io::Error::other(format!(
                "the first answer broke off: {:?}",
                String::from_utf8_lossy(&answer)
            )));
        }
        match crate::load::reply_body(&answer) {
            Ok(Some(body)) => return Ok(body.to_vec()),
            Ok(None) => {}
            Err(failure) => {
                let text = String::from_utf8_lossy(&answer);
                return Err(io::Error::other(format!("the first answer is no 200 ({failure:?}): {text:?}")));
            }
        }
    }
}

/// The same for what takes more than a socket to speak.
fn ask_by_curl(address: SocketAddr, probe: Probe<'_>) -> io::Result<Vec<u8>> {
    /// curl's exit code for a connection that was refused.
    const REFUSED: i32 = 7;
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--insecure"]);
    match probe {
        Probe::Http2 => curl.arg("--http2-prior-knowledge").arg(format!("http://{address}/")),
        Probe::Https | Probe::Http1(_) => curl.arg("--http1.1").arg(format!("https://{address}/")),
    };
    let output = curl.output()?;
    match output.status.code() {
        Some(0) => Ok(output.stdout),
        Some(REFUSED) => Err(io::ErrorKind::ConnectionRefused.into()),
        Some(_) | None => {
            Err(io::Error::other(format!("{curl:?}: {}", String::from_utf8_lossy(&output.stderr))))
        }
    }
}

/// True while `pid` is a child of ours that has not ended; reaps it when it has.
fn is_our_child(pid: i32) -> bool {
    matches!(waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive))
}

fn gone_is_fine(errno: Errno) -> Result<(), Errno> {
    if errno == Errno::ESRCH { Ok(()) } else { Err(errno) }
}

/// Between two looks at a condition that has a deadline.
pub(crate) fn pause(time: Duration) {
    let time = TimeSpec::nanoseconds(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
    // Interrupted by a signal: the caller looks earlier, which does no harm.
    let _: Result<i32, Errno> = nix::poll::ppoll(&mut [], Some(time), None);
}
