//! Promise: what stands in `deploy/` works as it is. The checkers of its formats accept it, nginx in front of a unix socket loses
//! nothing over reloads, and the supervisor is a good process 1.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use harness::{
    Guest, Machine, Nginx, Python, Reloaded, TestDirectory, Tool,
    load::Load,
    open_to_all,
    processes::{self, Signal},
    product_directory, repository, require, wait_for, wait_until,
};

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
}

fn assert_accepts(command: &mut Command) {
    let output = run(command);
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
}

fn deployed(name: &str) -> String {
    let file = repository().join("deploy").join(name);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()))
}

#[test]
fn systemd_accepts_the_units() {
    let Some(systemd_analyze) = require(Tool::SystemdAnalyze) else { return };
    let _machine = Machine::shared();
    let directory = TestDirectory::new();
    let supervise = product_directory().join("supervise");
    let unit = deployed("systemd/supervise.service")
        .replace("/usr/local/bin/supervise", supervise.to_str().expect("the path is text"));
    assert!(unit.contains(supervise.to_str().expect("the path is text")), "the unit starts supervise");
    let file = directory.join("supervise.service");
    fs::write(&file, unit).expect("the test's own directory can be written");
    let socket = directory.join("supervise.socket");
    fs::write(&socket, deployed("systemd/supervise.socket"))
        .expect("the test's own directory can be written");
    let output = run(Command::new(systemd_analyze).args(["verify", "--man=no"]).args([&file, &socket]));
    // Only what is said of this unit: systemd also complains of the machine's own units here.
    let said = String::from_utf8_lossy(&output.stderr);
    let about_ours: Vec<_> = said.lines().filter(|line| line.contains("supervise.s")).collect();
    assert!(output.status.success() && about_ours.is_empty(), "{}: {said}", output.status);
}

#[test]
fn prometheus_accepts_its_configuration_and_the_alerts_fire() {
    let Some(promtool) = require(Tool::Promtool) else { return };
    let directory = repository().join("deploy/prometheus");
    assert_accepts(Command::new(&promtool).current_dir(&directory).args([
        "check",
        "config",
        "prometheus.yml",
    ]));
    assert_accepts(Command::new(&promtool).current_dir(&directory).args([
        "test",
        "rules",
        "alerts_test.yml",
    ]));
}

/// nginx with `deploy/nginx/nginx.conf`, changed only in where it listens, whom it asks and where it writes.
pub(crate) fn deployed_nginx(nginx: &Path, directory: &Path, upstream: &Path) -> (Nginx, SocketAddr) {
    let address = Nginx::free_address();
    let (main, http) = Nginx::settings_within(directory);
    let mut text = deployed("nginx/nginx.conf");
    for (from, to) in [
        ("listen 80;", format!("listen {address};")),
        ("server unix:/run/supervise/web.sock", format!("server unix:{}", upstream.display())),
        ("pid /run/nginx.pid;", main),
        ("http {", format!("http {{\n{http}")),
    ] {
        assert!(text.contains(from), "nginx.conf has {from:?}");
        text = text.replacen(from, &to, 1);
    }
    (Nginx::start(nginx, directory, &text, address), address)
}

#[test]
fn nginx_accepts_its_configuration() {
    let Some(nginx) = require(Tool::Nginx) else { return };
    let file = repository().join("deploy/nginx/nginx.conf");
    assert_accepts(Command::new(nginx).arg("-t").arg("-c").arg(file));
}

#[test]
fn fastapi_behind_nginx_over_a_unix_socket_loses_nothing_over_five_reloads() {
    const APPLICATION: &str = r#"
import os

from fastapi import FastAPI, Request, Response

app = FastAPI()


@app.get("/")
async def identity(request: Request):
    return Response(f"{request.headers['x-request-id']} VERSION {os.getpid()}\n", media_type="text/plain")
"#;
    let (Some(nginx), Some(python)) = (require(Tool::Nginx), Python::default_one()) else { return };
    let machine = Machine::alone();
    let server = machine
        .server()
        .guest(Guest::FASTAPI, &python)
        .file("app.py", &APPLICATION.replace("VERSION", "v0"))
        .arguments(["--workers", "2", "--bind", "unix:web.sock", "app:app"])
        .start();
    let front = TestDirectory::new();
    // nginx's workers run as another user.
    open_to_all(front.path());
    open_to_all(server.directory());
    let (nginx, address) = deployed_nginx(&nginx, front.path(), &server.directory().join("web.sock"));
    let load = Load { concurrency: 16, ..Load::new(address) }.start();
    for number in 1..=5 {
        load.wait_for_answers(200);
        let version = format!("v{number}");
        server.write_file("app.py", &APPLICATION.replace("VERSION", &version));
        assert_eq!(server.reload(), Reloaded::Ok, "to {version}");
        load.wait_for_version(&version);
    }
    let report = load.stop();
    report.assert_nothing_lost(1_000);
    drop(nginx);
    server.stop();
}

/// A supervisor that is process 1 of a namespace of its own, as in a container.
struct Container {
    unshare: Child,
    supervisor: u32,
}

impl Container {
    fn start(unshare: &Path, directory: &Path) -> Self {
        let log = fs::File::create(directory.join("log")).expect("the log can be made");
        let child = Command::new(unshare)
            .args(["--pid", "--fork", "--mount-proc"])
            .arg(product_directory().join("supervise"))
            .args(["--workers", "2", "--bind", "127.0.0.1:0", "--metrics", "off"])
            .current_dir(directory)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("unshare can be started");
        let id = child.id();
        let supervisor = wait_for("the process in the namespace", Duration::from_secs(10), || {
            processes::children_of(id).first().map(|process| process.pid)
        });
        let container = Self { unshare: child, supervisor };
        wait_until("ready in the namespace", Duration::from_secs(20), || {
            fs::read_to_string(directory.join("log")).is_ok_and(|log| log.contains("ready: "))
        });
        container
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if self.unshare.try_wait().is_ok_and(|status| status.is_none()) {
            // The end of process 1 ends the whole namespace.
            processes::send_signal(self.supervisor, Signal::SIGKILL);
            let _ = self.unshare.wait();
        }
    }
}

#[test]
fn as_process_one_it_reaps_strangers_and_term_exits_zero() {
    let Some(unshare) = require(Tool::Unshare) else { return };
    let _machine = Machine::shared();
    let directory = TestDirectory::new();
    let mut container = Container::start(&unshare, directory.path());
    let workers: Vec<_> = processes::children_of(container.supervisor);
    assert_eq!(workers.len(), 2, "{workers:?}");
    // A process whose parent dies becomes a child of process 1: the inner shell starts it and leaves at once.
    assert_accepts(
        Command::new("nsenter")
            .args(["--pid", "--mount", "--target", &container.supervisor.to_string()])
            .args(["sh", "-c", "sh -c 'for i in 1 2 3 4 5; do true & done' & wait"]),
    );
    wait_until("every stranger is reaped", Duration::from_secs(5), || {
        processes::children_of(container.supervisor).iter().all(|child| !child.is_zombie())
    });
    processes::send_signal(container.supervisor, Signal::SIGTERM);
    let unshare = &mut container.unshare;
    let status = wait_for("the end of the namespace", Duration::from_secs(10), || {
        unshare.try_wait().expect("it is our child")
    });
    assert_eq!(status.code(), Some(0), "process 1 after TERM");
}

#[test]
fn the_dockerfile_names_what_the_build_makes() {
    let _machine = Machine::shared();
    let text = deployed("container/Dockerfile");
    for part in ["cargo build --release", "cargo build --release -p worker-python", "STOPSIGNAL SIGTERM"] {
        assert!(text.contains(part), "the Dockerfile has {part:?}");
    }
    let entry = text.lines().find(|line| line.starts_with("ENTRYPOINT")).expect("it has an entry point");
    let words: Vec<String> = serde_json::from_str(entry.trim_start_matches("ENTRYPOINT "))
        .expect("the exec form is a JSON list: only then is supervise process 1");
    // check-config takes the same options and proves them without binding anything.
    let directory = TestDirectory::new();
    assert_accepts(
        Command::new(product_directory().join("supervise"))
            .current_dir(directory.path())
            .arg("check-config")
            .args(&words[1..])
            .arg("app:app"),
    );
}
