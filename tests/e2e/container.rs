//! Promise: what a container allows is respected and explained: `--workers auto` counts the cores of its quota and of the affinity mask,
//! and a worker that the kernel kills for want of memory is told as such. (Process 1 of a namespace: tests/e2e/deploy.rs.)

use std::time::Duration;

use harness::{ControlGroup, Machine, Python, http, processes::children_of, wait_until};

use crate::guest;

const JOIN: &str = r#"echo $$ > "$MEMBERS" && exec "$@""#;

fn available_cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).expect("few"))
}

#[test]
fn auto_counts_the_cores_of_the_quota() {
    let Some(group) = ControlGroup::with("cpu") else { return };
    let machine = Machine::shared();
    // Less than two whole cores are one worker; less than one is one, too.
    for (percent, workers) in [(100, 1), (199, 1), (50, 1), (200, 2.min(available_cores()))] {
        group.limit_cores(percent);
        let server = machine
            .server()
            .after_shell_line(JOIN)
            .environment("MEMBERS", &group.members())
            .arguments(["--workers", "auto"])
            .start();
        assert_eq!(server.workers().len(), workers as usize, "{percent} % of a core");
        assert!(server.log.has_line(&format!("workers: auto is {workers} here")), "{}", server.log.text());
        server.stop();
    }
}

#[test]
fn auto_counts_the_cores_of_the_affinity_mask() {
    let machine = Machine::shared();
    let first = std::fs::read_to_string("/proc/self/status").expect("every Linux has it");
    let first = first.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("a list");
    let first: String = first.trim().chars().take_while(char::is_ascii_digit).collect();
    let server = machine
        .server()
        .after_shell_line(r#"exec taskset -c "$CORE" "$@""#)
        .environment("CORE", &first)
        .arguments(["--workers", "auto"])
        .start();
    assert_eq!(server.workers().len(), 1);
    server.stop();
}

#[test]
fn a_worker_killed_for_want_of_memory_is_told_as_such() {
    const APPLICATION: &str = r#"
HELD = []


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/eat":
        while True:
            HELD.append(b"x" * (8 << 20))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
"#;
    let Some(group) = ControlGroup::with("memory") else { return };
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    group.limit_memory(400 << 20);
    let server = guest::plain(&machine, &python, 2)
        .file("app.py", APPLICATION)
        .arguments(["--lifespan", "off"])
        .after_shell_line(JOIN)
        .environment("MEMBERS", &group.members())
        .start();
    assert!(http::get(server.address(), "/eat").is_err(), "the kernel ends whoever takes it all");
    wait_until("the replacement", Duration::from_secs(20), || server.restarts("oom") == 1.0);
    server.wait_for_ready_workers(2);
    assert_eq!(server.restarts(""), 1.0, "and for no other reason");
    let _ = server.log.wait_for_line("out of memory (the kernel counted an oom_kill", Duration::from_secs(5));
    assert_eq!(http::get(server.address(), "/").expect("an answer").status, 200);
    // A kill that is ours, or anybody's, is no want of memory.
    let worker = server.workers().first().expect("a worker").pid;
    harness::processes::send_signal(worker, harness::processes::Signal::SIGKILL);
    wait_until("the next replacement", Duration::from_secs(20), || server.restarts("signal") == 1.0);
    assert_eq!(server.restarts("oom"), 1.0);
    server.wait_for_ready_workers(2);
    assert!(children_of(server.pid()).iter().all(|child| !child.is_zombie()));
    server.stop();
}
