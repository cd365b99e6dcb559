//! A program that hangs, floods, dies or forks away hurts nobody and is gone afterwards; so is one whose client, worker or guard
//! is gone.

use std::{fs, thread, time::Duration};

use harness::{
    Machine, Program, Server, http,
    http::{Connection, Request},
    processes::{self, Signal, send_signal},
    wait_for, wait_until,
};

use super::{ask, get, programs, put, running, wait_until_nothing_runs};

/// Resident memory of a process in KiB.
fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a process has memory");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

fn only_worker(server: &Server) -> u32 {
    let workers = server.workers();
    assert_eq!(workers.len(), 1, "{workers:?}");
    workers[0].pid
}

fn zombies_of(pid: u32) -> usize {
    processes::children_of(pid).iter().filter(|child| child.is_zombie()).count()
}

/// What a GET of trouble.sh brings, which may be nothing whole.
fn trouble(server: &Server, what: &str) -> std::io::Result<http::Reply> {
    Connection::open(server.address())?.request(&Request::get(&format!("/trouble.sh?what={what}")))
}

#[test]
fn trouble_of_every_kind() {
    let machine = Machine::shared();
    let server = programs(&machine).arguments(["--cgi-timeout", "1s"]).start();
    let status = |what: &str| trouble(&server, what).map(|reply| reply.status).ok();
    // Time is over: nothing was said, so a word can be said for it; else the answer is broken off.
    assert_eq!(status("hangs"), Some(504));
    assert_eq!(status("ignores_term"), None, "an answer that has begun is broken off, never completed");
    assert_eq!(status("waits"), None);
    // Death by signal is told from an answer; an exit code is the program's own affair.
    assert_eq!(status("dies_at_once"), Some(502));
    assert_eq!(status("dies_later"), None);
    assert_eq!(status("says_nothing"), Some(502));
    assert_eq!(status("fails"), Some(200));
    wait_until_nothing_runs(&server);
    let log = server.log.text();
    for line in ["did not end within 1s", "SIGKILL ended it", "it exited with code 0"] {
        assert!(log.contains(line), "{line}");
    }
    assert_eq!(get(&server, "/document.sh").status, 200);
    server.stop();
}

#[test]
fn what_a_program_leaves_running() {
    let machine = Machine::shared();
    let server = programs(&machine).start();
    for what in ["closes_output", "leaves_a_child", "leaves_a_stranger"] {
        let reply = trouble(&server, what).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!((reply.status, reply.text().as_str()), (200, "begun\n"), "{what}");
    }
    // What left the group on purpose lives on, but holds no request; everything else is gone.
    let left = wait_for("the end of all but the stranger", Duration::from_secs(10), || {
        let left = running(&server);
        (left.len() <= 1).then_some(left)
    });
    assert_eq!(left.len(), 1, "{left:?}");
    send_signal(left[0].pid, Signal::SIGKILL);
    server.stop();
}

#[test]
fn floods() {
    let machine = Machine::shared();
    let server = programs(&machine).arguments(["--cgi-timeout", "2s"]).start();
    let worker = only_worker(&server);
    let before = resident_kib(worker);
    // Nobody reads: the program stands still, in memory that does not grow.
    let mut deaf = Connection::open(server.address()).expect("a connection");
    deaf.send(&Request::get("/trouble.sh?what=floods").bytes()).expect("sent");
    let _ = server.log.wait_for_line("did not end within 2s", Duration::from_secs(10));
    let grown = resident_kib(worker).saturating_sub(before);
    assert!(grown < 8 * 1024, "a flood of output costs {grown} KiB");
    // Standard error is read to its end, and logged to a bound.
    let mark = server.log.mark();
    let reply = trouble(&server, "complains").expect("an answer");
    assert_eq!((reply.status, reply.text().as_str()), (200, "begun\n"));
    let _ = server.log.wait_for_line("more bytes on standard error were dropped", Duration::from_secs(5));
    let logged = server.log.text_after(mark).len();
    assert!((30_000..100_000).contains(&logged), "{logged} bytes of log for 3 MB of complaints");
    // A line is a line, whatever is in it.
    trouble(&server, "forges").expect("an answer");
    let line = server.log.wait_for_line("red", Duration::from_secs(5));
    assert!(line.contains("trouble.sh: first") && !line.contains('\u{1b}'), "{line:?}");
    let _ = server.log.wait_for_line("trouble.sh: second", Duration::from_secs(5));
    wait_until_nothing_runs(&server);
    // A stop would wait for it to read.
    drop(deaf);
    server.stop();
}

#[test]
fn a_client_that_leaves_ends_the_program() {
    let machine = Machine::shared();
    let server = programs(&machine).start();
    for target in ["/trouble.sh?what=waits", "/trouble.sh?what=hangs"] {
        let mut client = Connection::open(server.address()).expect("a connection");
        client.send(&Request::get(target).bytes()).expect("sent");
        wait_until("the program runs", Duration::from_secs(10), || !running(&server).is_empty());
        drop(client);
        wait_until_nothing_runs(&server);
    }
    // In the middle of its body, too: the program must not take what it has for all.
    let mut client = Connection::open(server.address()).expect("a connection");
    client.send(b"POST /count.sh HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf").expect("sent");
    wait_until("the program runs", Duration::from_secs(10), || !running(&server).is_empty());
    drop(client);
    wait_until_nothing_runs(&server);
    wait_until("no zombie", Duration::from_secs(5), || zombies_of(only_worker(&server)) == 0);
    server.stop();
}

#[test]
fn a_worker_that_is_killed_takes_its_programs_along() {
    let machine = Machine::shared();
    let server = programs(&machine).start();
    let held = |server: &Server| {
        let mut client = Connection::open(server.address()).expect("a connection");
        client.send(&Request::get("/trouble.sh?what=leaves_a_child").bytes()).expect("sent");
        client.receive_until(b"begun").expect("the program runs");
        client
    };
    let first = only_worker(&server);
    let client = held(&server);
    send_signal(first, Signal::SIGKILL);
    wait_until_nothing_runs(&server);
    drop(client);
    // The guard is killed first: the next program brings a new one, which knows the old programs too.
    let second = wait_for("a new worker", Duration::from_secs(10), || {
        server.workers().iter().map(|worker| worker.pid).find(|pid| *pid != first)
    });
    wait_until("the new worker answers", Duration::from_secs(10), || {
        http::get(server.address(), "/document.sh").is_ok_and(|reply| reply.status == 200)
    });
    let client = held(&server);
    let is_guard = |process: &&processes::Process| {
        fs::read(format!("/proc/{}/cmdline", process.pid))
            .is_ok_and(|line| line.ends_with(b"\0--cgi-guard\0"))
    };
    let guard =
        processes::children_of(second).iter().find(is_guard).expect("a worker of CGI has a guard").pid;
    send_signal(guard, Signal::SIGKILL);
    wait_until("the guard is gone", Duration::from_secs(5), || !processes::is_alive(guard));
    let other = held(&server);
    send_signal(second, Signal::SIGKILL);
    wait_until_nothing_runs(&server);
    drop((client, other));
    server.stop();
}

#[test]
fn places_are_bounded_and_so_is_the_queue() {
    let machine = Machine::shared();
    let builder = programs(&machine);
    let release = builder.directory().join("release");
    let named = format!("RELEASE={}", release.display());
    let server = builder.arguments(["--cgi-processes", "1", "--env", &named]).start();
    let mut waiting: Vec<_> = (0..5)
        .map(|_| {
            let mut client = Connection::open(server.address()).expect("a connection");
            client.send(&Request::get("/trouble.sh?what=waits_for_file").bytes()).expect("sent");
            client
        })
        .collect();
    // One runs and four wait; who comes now is told at once.
    let refused = wait_for("a refusal", Duration::from_secs(5), || {
        let mut client = Connection::open(server.address()).expect("a connection");
        client.send(&Request::get("/document.sh").bytes()).expect("sent");
        let is_told = client.receive("GET");
        is_told.ok().filter(|reply| reply.status == 503)
    });
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(running(&server).iter().filter(|process| process.name == "trouble.sh").count(), 1);
    fs::write(&release, "").expect("a file can be written");
    for client in &mut waiting {
        assert_eq!(client.receive("GET").expect("an answer").status, 200);
    }
    server.stop();
}

#[test]
fn a_drain_lets_programs_finish() {
    let machine = Machine::shared();
    let builder = programs(&machine);
    let release = builder.directory().join("release");
    let named = format!("RELEASE={}", release.display());
    let mut server = builder.arguments(["--env", &named]).start();
    let mut client = Connection::open(server.address()).expect("a connection");
    client.send(&Request::get("/trouble.sh?what=waits_for_file").bytes()).expect("sent");
    wait_until("the program runs", Duration::from_secs(10), || !running(&server).is_empty());
    server.signal(Signal::SIGTERM);
    let _ = server.log.wait_for_line("stop", Duration::from_secs(5));
    fs::write(&release, "").expect("a file can be written");
    let reply = client.receive("GET").expect("the answer in full");
    assert_eq!((reply.status, reply.text().as_str()), (200, "begun\n"));
    assert_eq!(server.wait_for_exit(Duration::from_secs(10)).code(), Some(0));
    assert!(running(&server).is_empty());
}

#[test]
fn a_thousand_requests_leave_nothing() {
    const CLIENTS: u32 = 8;
    const REQUESTS: u32 = 125;
    let machine = Machine::shared();
    let server = programs(&machine).start();
    let worker = only_worker(&server);
    let descriptors = || fs::read_dir(format!("/proc/{worker}/fd")).map(Iterator::count).unwrap_or(0);
    assert_eq!(get(&server, "/document.sh").status, 200);
    let before = descriptors();
    let address = server.address();
    let clients = (0..CLIENTS).map(|_| {
        thread::spawn(move || {
            let mut connection = Connection::open(address).expect("a connection");
            for _ in 0..REQUESTS {
                let reply = connection.request(&Request::get("/document.sh")).expect("an answer");
                assert_eq!((reply.status, reply.text().as_str()), (200, "hello\n"));
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.join().expect("a client without failures");
    }
    wait_until("no zombie", Duration::from_secs(5), || zombies_of(worker) == 0);
    wait_until("as few descriptors as before", Duration::from_secs(5), || descriptors() <= before);
    assert_eq!(processes::children_of(worker).len(), 1, "the guard alone is left");
    server.stop();
}

#[test]
fn a_worker_alone_serves_cgi_too() {
    let machine = Machine::shared();
    let mut server =
        programs(&machine).program(Program::Worker).arguments(["--env", "GREETING=alone"]).spawn();
    assert!(get(&server, "/show.sh").text().contains("\nGREETING=alone\n"));
    let mut client = Connection::open(server.address()).expect("a connection");
    client.send(&Request::get("/trouble.sh?what=waits").bytes()).expect("sent");
    client.receive_until(b"begun").expect("the program runs");
    // Twice is at once: nothing is left of the program either.
    server.signal(Signal::SIGTERM);
    wait_until("the drain has begun", Duration::from_secs(10), || {
        Connection::open(server.address()).is_err()
    });
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_exit(Duration::from_secs(10)).code(), Some(0));
    wait_until_nothing_runs(&server);
}

#[test]
fn credentials_are_passed_when_asked_for() {
    let machine = Machine::shared();
    let server = programs(&machine).arguments(["--cgi-pass-authorization"]).start();
    let reply =
        ask(&server, &Request { headers: &[("Authorization", "Basic YTpi")], ..Request::get("/show.sh") });
    assert!(reply.text().contains("\nHTTP_AUTHORIZATION=Basic YTpi\n"), "{}", reply.text());
    server.stop();
}

#[test]
fn one_program_answers_every_path() {
    let machine = Machine::shared();
    let server =
        machine.server().arguments(["--interface", "cgi", "./all.sh", "--limit-request-body", "1000"]);
    put(
        &server.directory().join("all.sh"),
        &fs::read(harness::repository().join("tests/apps/cgi/show.sh")).expect("a program"),
    );
    let server = server.start();
    let text = get(&server, "/any/path?a=b").text();
    for line in ["SCRIPT_NAME=", "PATH_INFO=/any/path", "QUERY_STRING=a=b"] {
        assert!(text.lines().any(|held| held == line), "{line}: {text}");
    }
    // The bound of a body holds for one without a length too.
    let body = format!("7d0\r\n{}\r\n0\r\n\r\n", "x".repeat(2000));
    let headers = [("Transfer-Encoding", "chunked")];
    let large = Request { method: "POST", target: "/", headers: &headers, body: body.as_bytes() };
    assert_eq!(ask(&server, &large).status, 413);
    server.stop();
}

#[test]
fn what_cannot_be_served_is_refused_at_the_start() {
    let machine = Machine::shared();
    for (arguments, code, words) in [
        (&["--interface", "cgi"][..], 2, "needs a directory"),
        (&["--interface", "cgi", "./nowhere"], 4, "is not there"),
        (&["--interface", "cgi", "./plain.txt"], 4, "cannot be executed"),
        (&["--cgi-timeout", "5s"], 2, "--cgi-timeout has no meaning"),
        (&["--cgi-processes", "0", "--interface", "cgi", "."], 2, "no whole number from 1"),
        (&["--interface", "nonsense", "m:app"], 2, "no interface"),
    ] {
        let mut server = machine.server().file("plain.txt", "no program");
        for argument in arguments {
            server = server.arguments([argument]);
        }
        let mut server = server.spawn();
        assert_eq!(server.wait_for_exit(Duration::from_secs(10)).code(), Some(code), "{arguments:?}");
        assert!(server.log.text().contains(words), "{arguments:?}: {}", server.log.text());
    }
}
