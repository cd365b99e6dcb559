//! Promise: the numbers are there. Debian's Prometheus with the configuration of `deploy/` scrapes a running server, sees three kills
//! as three restarts, and no counter ever falls.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use harness::{
    Machine, Metrics, Output, Reloaded, Server, TestDirectory, Tool, http, patient,
    processes::{Signal, send_signal},
    repository, require, wait_for, wait_until,
};

/// A Prometheus that scrapes with the configuration of deploy/, whose target and interval alone are changed.
struct Prometheus {
    child: Child,
    log: Output,
    address: SocketAddr,
    _data: TestDirectory,
}

impl Prometheus {
    fn start(program: &Path, target: SocketAddr) -> Self {
        let data = TestDirectory::new();
        let deployed = repository().join("deploy/prometheus");
        let config =
            fs::read_to_string(deployed.join("prometheus.yml")).expect("deploy/ has a configuration");
        assert!(config.contains("127.0.0.1:9464") && config.contains("scrape_interval: 5s"), "{config}");
        let config = config
            .replace("127.0.0.1:9464", &target.to_string())
            .replace("scrape_interval: 5s", "scrape_interval: 1s");
        fs::write(data.join("prometheus.yml"), config).expect("a file");
        fs::copy(deployed.join("alerts.yml"), data.join("alerts.yml")).expect("deploy/ has alerts");
        let mut command = Command::new(program);
        command.arg("--config.file=prometheus.yml").arg("--storage.tsdb.path=data");
        // Its log names the port only of a fixed address; ask the kernel instead.
        command.arg("--web.listen-address=127.0.0.1:0").current_dir(data.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("Prometheus starts");
        let log = Output::collect(child.stderr.take().expect("stderr is a pipe"));
        let pid = child.id();
        let port = wait_for("the port of Prometheus", Duration::from_secs(20), || {
            harness::processes::listening_ports(pid).into_iter().next()
        });
        let prometheus = Self { child, log, address: ([127, 0, 0, 1], port).into(), _data: data };
        wait_until("Prometheus to be ready", Duration::from_secs(20), || {
            http::get(prometheus.address, "/-/ready").is_ok_and(|reply| reply.status == 200)
        });
        prometheus
    }

    /// The value of an expression that yields one number; nothing when it yields none.
    fn query(&self, expression: &str) -> Option<f64> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let reply = http::get(self.address, &format!("/api/v1/query?query={encoded}")).ok()?;
        let answer: serde_json::Value = serde_json::from_slice(&reply.body).ok()?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        send_signal(self.child.id(), Signal::SIGTERM);
        let child = &mut self.child;
        wait_for("the end of Prometheus", Duration::from_secs(20), || child.try_wait().ok().flatten());
        if std::thread::panicking() {
            println!("--- Prometheus:\n{}", self.log.text());
        }
    }
}

fn kill_one(server: &Server) {
    let restarts = server.restarts("signal");
    let victim = server.workers()[0].pid;
    send_signal(victim, Signal::SIGKILL);
    server.wait_for_metric(
        "supervise_worker_restarts_total",
        &[("reason", "signal")],
        restarts + 1.0,
        Duration::from_secs(10),
    );
    server.wait_for_ready_workers(2);
}

#[test]
fn three_kills_are_three_restarts() {
    let machine = Machine::shared();
    let Some(program) = require(Tool::Prometheus) else { return };
    let server = machine.server().arguments(["--worker-class", "async", "--workers", "2"]).start();
    let prometheus = Prometheus::start(&program, server.metrics_address());
    let up = "up{job=\"supervise\"}";
    wait_until("a first scrape", Duration::from_secs(20), || prometheus.query(up) == Some(1.0));
    let total = "sum(supervise_worker_restarts_total)";
    wait_until("zeroes before anything happened", Duration::from_secs(20), || {
        prometheus.query(total) == Some(0.0)
    });
    for _ in 0..3 {
        kill_one(&server);
    }
    let increase = "sum(increase(supervise_worker_restarts_total[1m]))";
    wait_until("three restarts in Prometheus", Duration::from_secs(40), || {
        prometheus.query(increase).is_some_and(|value| value >= 3.0)
    });
    drop(prometheus);
    server.stop();
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let machine = Machine::shared();
    let Some(program) = require(Tool::Promtool) else { return };
    let server = machine.server().arguments(["--workers", "2"]).start();
    assert_eq!(http::get(server.address(), "/healthz").expect("an answer").status, 200);
    let text = server.metrics().text;
    let mut child = Command::new(program)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    std::io::Write::write_all(&mut child.stdin.take().expect("stdin is a pipe"), text.as_bytes())
        .expect("promtool reads");
    let output = child.wait_with_output().expect("promtool ends");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}\n{text}");
    server.stop();
}

#[test]
fn no_counter_ever_falls() {
    let machine = Machine::shared();
    let server = machine.server().arguments(["--workers", "2"]).start();
    let mut earlier: Metrics = server.metrics();
    let mut check = |what: &str| {
        let now = server.metrics();
        let fallen = now.fallen_since(&earlier);
        assert!(fallen.is_empty(), "after {what}: {fallen:?}");
        earlier = now;
    };
    for _ in 0..200 {
        assert_eq!(http::get(server.address(), "/healthz").expect("an answer").status, 200);
    }
    check("requests");
    kill_one(&server);
    check("a kill");
    assert_eq!(server.reload(), Reloaded::Ok);
    wait_until("the end of the old workers", Duration::from_secs(10), || server.workers().len() == 2);
    check("a reload");
    assert!(
        earlier.sum("supervise_http_responses_total", &[]) >= 200.0,
        "the dead are still counted: {}",
        earlier.text
    );
    server.stop();
}

#[test]
fn the_families_are_there_from_the_start() {
    let machine = Machine::shared();
    let server = machine.server().arguments(["--workers", "1"]).start();
    let metrics = server.metrics();
    for name in [
        "supervise_build_info",
        "supervise_start_time_seconds",
        "supervise_config_last_reload_successful",
        "supervise_reloads_total",
        "supervise_generation",
        "supervise_workers_desired",
        "supervise_workers",
        "supervise_worker_starts_total",
        "supervise_worker_restarts_total",
        "supervise_worker_exits_total",
        "supervise_worker_boot_duration_seconds_count",
        "supervise_worker_uptime_seconds",
        "supervise_worker_resident_memory_bytes",
        "supervise_worker_cpu_seconds_total",
        "supervise_worker_heartbeat_age_seconds",
        "supervise_http_responses_total",
        "supervise_http_request_duration_seconds_count",
        "supervise_http_requests_in_flight",
        "supervise_connections",
    ] {
        assert!(metrics.has(name), "{name} is not in:\n{}", metrics.text);
    }
    for reason in ["crash", "signal", "heartbeat", "oom", "boot_failed"] {
        let labels = [("reason", reason)];
        assert!(
            metrics.select("supervise_worker_restarts_total", &labels).next().is_some(),
            "reason {reason}"
        );
    }
    for result in Reloaded::ALL {
        let labels = [("result", result.label())];
        assert!(metrics.select("supervise_reloads_total", &labels).next().is_some(), "result {result:?}");
    }
    let reply = http::get(server.metrics_address(), "/metrics").expect("an answer");
    assert!(reply.header("content-type").is_some_and(|kind| kind.contains("version=0.0.4")), "{reply:?}");
    server.stop();
}

#[test]
fn readiness_is_told_apart_from_life() {
    let machine = Machine::shared();
    let Some(python) = harness::Python::default_one() else { return };
    let slow = crate::guest::version(0, 2.0);
    let server = crate::guest::plain(&machine, &python, 1).file("version.py", &slow).spawn();
    let address = server.metrics_address();
    let status = |target: &str| http::get(address, target).map(|reply| reply.status).ok();
    wait_until("life", patient(Duration::from_secs(5)), || status("/healthz") == Some(200));
    assert_eq!(status("/readyz"), Some(503), "the worker imports for 2 s");
    server.wait_until_ready();
    assert_eq!(status("/readyz"), Some(200));
    server.stop();
}
