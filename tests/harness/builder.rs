//! A server to start: its programs, its command line, its environment, the files in its directory.

use std::{
    io::{PipeReader, PipeWriter, Write as _},
    os::fd::OwnedFd,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use command_fds::{CommandFdExt, FdMapping};

use crate::{
    Binaries, Guest, Machine, Output, Python, Server, TestDirectory, binaries,
    server::{Listens, MARK},
    write_atomically,
};

/// What is done with the supervisor's stdout and stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Read all the time, as the log.
    Always,
    /// Pipes that nobody reads.
    Never,
}

/// A server to start.
#[derive(Debug)]
pub struct ServerBuilder<'m> {
    _machine: &'m Machine,
    binaries: Binaries,
    directory: TestDirectory,
    program: Program,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    reading: Reading,
    defaults: Defaults,
    shell_line: Option<&'static str>,
    handed: Vec<OwnedFd>,
}

/// Which program is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// The supervisor.
    Supervise,
    /// A worker without a supervisor.
    Worker,
}

/// Whether options that every test wants are added to the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defaults {
    Added,
    LeftOut,
}

impl<'m> ServerBuilder<'m> {
    pub(crate) fn new(machine: &'m Machine) -> Self {
        Self {
            _machine: machine,
            binaries: binaries::built().clone(),
            directory: TestDirectory::new(),
            program: Program::Supervise,
            arguments: Vec::new(),
            environment: Vec::new(),
            reading: Reading::Always,
            defaults: Defaults::Added,
            shell_line: None,
            handed: Vec::new(),
        }
    }

    /// Adds arguments to the command line. `--bind` and `--metrics` with port 0 are added when they are not among them.
    #[must_use]
    pub fn arguments<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.arguments.extend(arguments.map(str::to_owned));
        self
    }

    /// Sets a variable of the environment, which holds only PATH and HOME otherwise.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts another program than the supervisor.
    #[must_use]
    pub fn program(mut self, program: Program) -> Self {
        self.program = program;
        self
    }

    /// Takes the command line as it is: `--bind` and `--metrics` are not added.
    #[must_use]
    pub fn without_defaults(mut self) -> Self {
        self.defaults = Defaults::LeftOut;
        self
    }

    /// Lets a shell run `line` first, which must end with `exec "$@"`: what a careless parent leaves to its child.
    #[must_use]
    pub fn after_shell_line(mut self, line: &'static str) -> Self {
        self.shell_line = Some(line);
        self
    }

    /// Hands descriptors over as systemd hands sockets over: from number 3 up, with the variables of sd_listen_fds(3). The caller
    /// keeps its own copies, so what listens goes on listening after the server's end.
    #[must_use]
    pub fn handed<const N: usize>(mut self, named: [(&str, OwnedFd); N]) -> Self {
        let names = named.each_ref().map(|(name, _)| *name).join(":");
        self.handed.extend(named.map(|(_, descriptor)| descriptor));
        self.after_shell_line(r#"LISTEN_PID=$$ exec "$@""#)
            .without_defaults()
            .arguments(["--metrics", "127.0.0.1:0"])
            .environment("LISTEN_FDS", &N.to_string())
            .environment("LISTEN_FDNAMES", &names)
    }

    /// Uses other programs than the built ones.
    #[must_use]
    pub fn binaries(mut self, binaries: Binaries) -> Self {
        self.binaries = binaries;
        self
    }

    /// Says what is done with the output.
    #[must_use]
    pub fn reading(mut self, reading: Reading) -> Self {
        self.reading = reading;
        self
    }

    /// Puts a file into the server's directory.
    #[must_use]
    pub fn file(self, name: &str, text: &str) -> Self {
        write_atomically(&self.directory.join(name), text);
        self
    }

    /// Serves a guest application with `python`: builds the extension, activates the virtual environment, copies the application
    /// to `app.py`. The caller adds the argument `app:app`.
    #[must_use]
    pub fn guest(self, guest: Guest, python: &Python) -> Self {
        python.build_extension();
        let environment = python.virtual_environment();
        self.file("app.py", &guest.text())
            .environment("VIRTUAL_ENV", environment.to_str().expect("the path is text"))
            .environment("PYTHONDONTWRITEBYTECODE", "1")
    }

    /// Where the server will run.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts it and waits until it says that it is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    pub fn start(self) -> Server {
        let server = self.spawn();
        server.wait_until_ready();
        server
    }

    /// Starts it and waits for nothing.
    ///
    /// # Panics
    /// When the program cannot be started.
    #[must_use]
    pub fn spawn(self) -> Server {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut command = self.command(&mark);
        let listens_on =
            if self.handed.is_empty() { Listens::AtOwnAddress } else { Listens::AtHandedSockets };
        let handed = (3..).zip(self.handed).map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd });
        command.fd_mappings(handed.collect()).expect("no number is given twice");
        let mut unread = Vec::new();
        match self.reading {
            Reading::Always => {
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
            }
            Reading::Never => {
                for _ in 0..2 {
                    unread.push(full_pipe());
                }
                command
                    .stdout(unread[0].1.try_clone().expect("a descriptor"))
                    .stderr(unread[1].1.try_clone().expect("a descriptor"));
            }
        }
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = child.stdout.take().map_or_else(Output::unread, Output::collect);
        let log = child.stderr.take().map_or_else(Output::unread, Output::collect);
        let command_line = format!("{command:?}");
        Server::new(child, [stdout, log], mark, self.directory, command_line, unread, listens_on)
    }

    fn command(&self, mark: &str) -> Command {
        let program = match self.program {
            Program::Supervise => self.binaries.supervise(),
            Program::Worker => self.binaries.worker(),
        };
        let mut command = match self.shell_line {
            Some(line) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", line, "sh"]).arg(program);
                shell
            }
            None => Command::new(program),
        };
        let given = |name: &str| self.arguments.iter().any(|argument| argument == name);
        if self.defaults == Defaults::Added {
            if !given("--bind") && !given("-b") {
                command.args(["--bind", "127.0.0.1:0"]);
            }
            if !given("--metrics") && self.program == Program::Supervise {
                command.args(["--metrics", "127.0.0.1:0"]);
            }
        }
        command.args(&self.arguments).current_dir(self.directory.path()).env_clear().stdin(Stdio::null());
        for name in ["PATH", "HOME", "TMPDIR"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.env(MARK, mark).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A pipe that is full already and that nobody will read.
fn full_pipe() -> (PipeReader, PipeWriter) {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let (reader, mut writer) = std::io::pipe().expect("a pipe can be made");
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a pipe can be made non-blocking");
    while writer.write(&[b'x'; 4096]).is_ok() {}
    while writer.write(b"x").is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).expect("a pipe can be made blocking");
    (reader, writer)
}
