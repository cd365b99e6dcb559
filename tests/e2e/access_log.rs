//! Promise: the access log has one line for each request, in the format that was asked for, whatever a client sends; moving the file
//! away and USR1 lose none; and a log that nobody reads holds up no request.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use harness::{
    Machine, Metrics, Program, Python, Reading, TestDirectory, http,
    http::{Connection, Request},
    load::Load,
    processes,
    processes::Signal,
    wait_for, wait_until,
};

use crate::guest;

/// The whole of a file, once it has so many lines.
fn lines(path: &Path, count: usize) -> Vec<String> {
    wait_for(&format!("{count} lines in {}", path.display()), Duration::from_secs(10), || {
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        (lines.len() >= count).then_some(lines)
    })
}

#[test]
fn lines_look_as_they_were_asked_to() {
    let machine = Machine::shared();
    for (format, starts, ends) in [
        ("uvicorn", "INFO:     127.0.0.1:", " - \"GET /?y=%22 HTTP/1.1\" 200 OK"),
        ("common", "127.0.0.1 - Aladdin [", "] \"GET /?y=%22 HTTP/1.1\" 200 "),
        ("combined", "127.0.0.1 - Aladdin [", "\"http://a/\" \"agent \\x22x\\x22\""),
        ("json", "{\"timestamp\":\"", "\"request_id\":null,\"traceparent\":null}"),
        (
            "%(m)s|%(U)s|%(q)s|%(H)s|%({content-type}o)s|%({Referer}i)s|%({REMOTE_ADDR}e)s",
            "GET|",
            "|http://a/|127.0.0.1",
        ),
    ] {
        let server =
            machine.server().arguments(["--access-logfile", "log", "--access-logformat", format]).start();
        let headers = [
            ("Authorization", "Basic QWxhZGRpbjpvcGVu"),
            ("User-Agent", "agent \"x\""),
            ("Referer", "http://a/"),
        ];
        let mut connection = Connection::open(server.address()).expect("a connection");
        let request = Request { headers: &headers, ..Request::get("/?y=%22") };
        let reply = connection.request(&request).expect("an answer");
        let line = &lines(&server.directory().join("log"), 1)[0];
        assert!(
            line.starts_with(starts) && line.contains(ends),
            "{format}: {line} (status {})",
            reply.status
        );
        if format == "json" {
            let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(value["url.path"], "/");
            assert_eq!(value["user_agent.original"], "agent \"x\"");
        }
        server.stop();
    }
}

#[test]
fn what_turns_it_on_and_off() {
    let machine = Machine::shared();
    for (arguments, is_on) in [
        (&[][..], false),
        (&["--access-log"], true),
        (&["--access-logfile", "-"], true),
        (&["--access-logformat", "common"], true),
        (&["--access-logfile", "-", "--no-access-log"], false),
    ] {
        let mut server = machine.server().file("supervise.yaml", "workers: 1\n");
        for argument in arguments {
            server = server.arguments([argument]);
        }
        let mut server = server.start();
        assert_eq!(http::get(server.address(), "/healthz").expect("an answer").status, 200);
        // The stop writes what was still to be written.
        server.signal(Signal::SIGTERM);
        assert_eq!(server.wait_for_exit(Duration::from_secs(10)).code(), Some(0));
        server.stdout.wait_for_end(Duration::from_secs(10));
        assert_eq!(server.stdout.has_line("GET /healthz HTTP/1.1"), is_on, "{arguments:?}");
    }
}

#[test]
fn no_request_forges_a_line() {
    let machine = Machine::shared();
    let server =
        machine.server().arguments(["--access-logfile", "log", "--access-logformat", "combined"]).start();
    for attack in [
        &b"GET /a\"\x20200\x0b HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: x\" 200 1 \"\x80\xe2\x80\xa8\xc2\x85\r\nConnection: close\r\n\r\n",
        b"\x1b[2J\x00\"\\ GET\r\n\r\n",
    ] {
        let mut connection = Connection::open(server.address()).expect("a connection");
        connection.send(attack).expect("sent");
        let _whatever = connection.receive_to_end();
    }
    let written = lines(&server.directory().join("log"), 3);
    assert_eq!(written.len(), 3, "{written:?}");
    for line in &written {
        assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
        assert_eq!(line.matches('"').count(), 6, "{line}");
    }
    server.stop();
}

#[test]
fn moving_the_file_away_under_load_loses_no_line() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let directory = TestDirectory::new();
    let log = directory.join("log");
    let server = guest::plain(&machine, &python, 2)
        .arguments(["--access-logfile", log.to_str().expect("a path of text")])
        .arguments(["--access-logformat", "%({x-request-id}i)s %(s)s"])
        .start();
    let load = Load::new(server.address()).start();
    for number in 0..5 {
        load.wait_for_answers(500);
        fs::rename(&log, directory.join(&format!("log.{number}"))).expect("a file to move");
        server.signal(Signal::SIGUSR1);
        // Both workers have the new file: none writes to the old one any more.
        wait_until("the new file in both workers", Duration::from_secs(10), || {
            server.workers().iter().all(|worker| has_open(worker.pid, &log))
        });
    }
    load.wait_for_answers(500);
    let report = load.stop();
    report.assert_nothing_lost(3_000);
    server.stop();
    let mut ids: Vec<u64> = Vec::new();
    for entry in fs::read_dir(directory.path()).expect("a directory") {
        for line in fs::read_to_string(entry.expect("an entry").path()).expect("text").lines() {
            let (id, status) = line.split_once(' ').unwrap_or_else(|| panic!("a torn line: {line}"));
            assert_eq!(status, "200", "{line}");
            ids.push(id.parse().unwrap_or_else(|_| panic!("a torn line: {line}")));
        }
    }
    ids.sort_unstable();
    let lines = ids.len() as u64;
    ids.dedup();
    println!("{lines} lines for {} answers", report.answered);
    assert_eq!((lines, ids.len() as u64), (report.answered, report.answered), "one line for each answer");
}

fn has_open(pid: u32, path: &Path) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"));
    descriptors.is_ok_and(|entries| {
        entries.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == path))
    })
}

#[test]
fn a_worker_alone_reopens_too() {
    let machine = Machine::shared();
    let server = machine.server().program(Program::Worker).arguments(["--access-logfile", "log"]).spawn();
    let get = || assert_eq!(http::get(server.address(), "/healthz").expect("an answer").status, 200);
    get();
    let log = server.directory().join("log");
    lines(&log, 1);
    fs::rename(&log, server.directory().join("log.1")).expect("a file to move");
    server.signal(Signal::SIGUSR1);
    wait_until("the new file", Duration::from_secs(10), || log.exists());
    get();
    assert!(lines(&log, 1)[0].contains("\"GET /healthz HTTP/1.1\" 200 "));
    drop(server);
}

#[test]
fn a_log_that_nobody_reads_holds_up_no_request() {
    let machine = Machine::shared();
    // With lines of 2 KB the queue is full soon.
    let format = "x".repeat(2_000) + "%(s)s";
    let mut server = machine
        .server()
        .reading(Reading::Never)
        .arguments(["--welcome", "--bind", "unix:web.sock", "--access-logformat", &format])
        .spawn();
    let address = wait_for("the port of /metrics", Duration::from_secs(10), || {
        let port = processes::listening_ports(server.pid()).into_iter().next()?;
        Some(SocketAddr::from(([127, 0, 0, 1], port)))
    });
    let get = |target: &str| http::get(address, target).expect("an answer");
    wait_until("readiness", Duration::from_secs(10), || get("/readyz").status == 200);
    let mut connection = Connection::open_unix(&server.directory().join("web.sock")).expect("a connection");
    for _ in 0..5_000 {
        assert_eq!(connection.request(&Request::get("/healthz")).expect("an answer").status, 200);
    }
    let metrics = Metrics::parse(&get("/metrics").text());
    let dropped = metrics.sum("supervise_access_log_lines_dropped_total", &[]);
    println!("{dropped} of 5000 lines dropped");
    assert!((1_000.0..5_000.0).contains(&dropped), "{dropped} lines dropped");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_exit(Duration::from_secs(10)).code(), Some(0));
}

/// uvicorn's own formatter, and the arguments that it takes apart.
const LOG_CONFIG: &str = r#"{"version": 1, "disable_existing_loggers": false,
    "formatters": {"access": {"()": "uvicorn.logging.AccessFormatter", "use_colors": false,
        "fmt": "%(client_addr)s|%(request_line)s|%(status_code)s"}},
    "handlers": {"file": {"class": "logging.FileHandler", "filename": "log", "formatter": "access"}},
    "loggers": {"uvicorn.access": {"handlers": ["file"], "level": "INFO", "propagate": false}}}"#;

#[test]
fn loggers_of_python_get_uvicorns_records() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let server = guest::plain(&machine, &python, 1)
        .file("logging.json", LOG_CONFIG)
        .arguments(["--log-config", "logging.json", "--access-logger", "uvicorn.access"])
        .start();
    assert_eq!(http::get(server.address(), "/?a=b").expect("an answer").status, 200);
    let line = &lines(&server.directory().join("log"), 1)[0];
    assert!(line.starts_with("127.0.0.1:") && line.ends_with("|GET /?a=b HTTP/1.1|200 OK"), "{line}");
    server.stop();
    // Without a configuration the line comes to standard output.
    let server = guest::plain(&machine, &python, 1).arguments(["--access-logger", "gunicorn.access"]).start();
    assert_eq!(http::get(server.address(), "/?c=d").expect("an answer").status, 200);
    let line = server.stdout.wait_for_line("\"GET /?c=d HTTP/1.1\" 200 ", Duration::from_secs(10));
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    server.stop();
}

#[test]
fn a_wrong_format_is_refused_at_its_place() {
    let machine = Machine::shared();
    let yaml = "access_logformat: '%(h)s %(x)s'\n";
    let mut server = machine.server().file("supervise.yaml", yaml).spawn();
    assert_eq!(server.wait_for_exit(Duration::from_secs(10)).code(), Some(78));
    assert!(server.log.text().contains("supervise.yaml:1:19"), "{}", server.log.text());
    assert!(server.log.text().contains("character 7 of the access log format: `%(x)s` is no atom"));
    for arguments in [
        ["--access-logformat", "nonsense"],
        ["--access-logfile", "no/such/directory/log"],
        ["--access-logger", "uvicorn.access"],
    ] {
        let mut server = machine.server().arguments(arguments).spawn();
        assert_eq!(server.wait_for_exit(Duration::from_secs(10)).code(), Some(2), "{arguments:?}");
    }
}
