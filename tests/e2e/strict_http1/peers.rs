//! Other servers on unix sockets, started and ended for a comparison.

use std::{
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use harness::{Python, TestDirectory, repository, wait_until};

/// A server that runs until this is dropped.
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) socket: PathBuf,
    child: Child,
}

impl Peer {
    pub(super) fn uvicorn(python: &Python, directory: &TestDirectory) -> Self {
        let socket = directory.join("uvicorn.sock");
        let mut command = module(python, "uvicorn");
        command.arg("--uds").arg(&socket).args([
            "--lifespan",
            "off",
            "--log-level",
            "critical",
            "peers_app:asgi",
        ]);
        Self::start("uvicorn", socket, command)
    }

    pub(super) fn gunicorn(python: &Python, directory: &TestDirectory) -> Self {
        let socket = directory.join("gunicorn.sock");
        let mut command = module(python, "gunicorn");
        // Threads, because its other workers keep no connection alive.
        command.arg("--bind").arg(format!("unix:{}", socket.display()));
        command.args([
            "--worker-class",
            "gthread",
            "--threads",
            "8",
            "--log-level",
            "critical",
            "peers_app:wsgi",
        ]);
        Self::start("gunicorn", socket, command)
    }

    pub(super) fn nginx(nginx: &Path, directory: &TestDirectory) -> Self {
        let socket = directory.join("nginx.sock");
        let place = |name: &str| directory.join(name).display().to_string();
        let text = format!(
            "daemon off; pid {};\nevents {{}}\nhttp {{ access_log off; client_body_temp_path {};\n\
             server {{ listen unix:{}; location / {{ return 200 \"$request_method $request_uri\"; }} }} }}\n",
            place("nginx.pid"),
            place("body"),
            socket.display(),
        );
        let file = directory.join("nginx.conf");
        fs::write(&file, text).expect("the test's own directory can be written");
        let mut command = Command::new(nginx);
        command.arg("-c").arg(&file).arg("-p").arg(directory.path()).args(["-e", "stderr"]);
        Self::start("nginx", socket, command)
    }

    fn start(name: &'static str, socket: PathBuf, mut command: Command) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        wait_until(&format!("{name} to listen"), Duration::from_secs(30), || {
            UnixStream::connect(&socket).is_ok()
        });
        Self { name, socket, child }
    }
}

/// A module of the guests' virtual environment, where the guests stand.
fn module(python: &Python, name: &str) -> Command {
    let mut command = Command::new(python.virtual_environment().join("bin/python3"));
    command
        .args(["-m", name])
        .current_dir(repository().join("tests/apps"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Each of them ends its own workers on TERM.
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _gone =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
        }
        let _status = self.child.wait();
    }
}
