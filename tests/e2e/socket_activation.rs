//! Promise: sockets that whoever starts supervise has opened for it are served as its own would be, survive reloads and restarts without
//! the loss of a connection, and belong to their owner: their variables reach no worker, their files are not removed.

use std::{
    net::{TcpListener, UdpSocket},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    time::Duration,
};

use harness::{
    Guest, Machine, Python, Reloaded, ServerBuilder, TestDirectory, Tool,
    http::{self, Connection, Request},
    load::Load,
    processes::{self, Signal},
    require,
};

use crate::guest;

fn tcp(address: &str) -> TcpListener {
    TcpListener::bind(address).unwrap_or_else(|error| panic!("cannot bind {address}: {error}"))
}

fn copy(listener: &TcpListener) -> OwnedFd {
    listener.try_clone().expect("a descriptor").into()
}

#[test]
fn every_kind_of_socket_is_served_and_stays_its_owners() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let elsewhere = TestDirectory::new();
    let path = elsewhere.join("app.sock");
    let (four, unix) = (tcp("127.0.0.1:0"), UnixListener::bind(&path).expect("a socket"));
    // Some containers have no IPv6: then another of IPv4 takes its place.
    let six = TcpListener::bind("[::1]:0").unwrap_or_else(|_| tcp("127.0.0.1:0"));
    let addresses = [&four, &six].map(|listener| listener.local_addr().expect("it is bound"));
    let server = machine
        .server()
        .guest(Guest::TELLS, &python)
        .handed([
            ("web.socket", copy(&four)),
            ("six", copy(&six)),
            ("local", unix.try_clone().expect("a descriptor").into()),
        ])
        .arguments(["--workers", "2", "app:app"])
        .start();
    for (address, name) in addresses.iter().zip(["web.socket", "six"]) {
        assert!(server.log.has_line(&format!("listening on http://{address} (handed over: {name})")));
        assert_eq!(http::get(*address, "/").expect("an answer").status, 200);
    }
    assert!(server.log.has_line(&format!("listening on unix:{} (handed over: local)", path.display())));
    let mut connection = Connection::open_unix(&path).expect("a connection");
    assert_eq!(connection.request(&Request::get("/")).expect("an answer").status, 200);
    drop(connection);
    assert_eq!(server.workers().len(), 2);
    for worker in server.workers() {
        for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
            assert_eq!(processes::environment_variable(worker.pid, name), None, "{name} of a worker");
        }
    }
    server.stop();
    assert!(path.exists(), "the file is its owner's");
    let _waits_for_the_next_start = UnixStream::connect(&path).expect("its owner listens");
}

#[test]
fn no_connection_is_lost_over_reloads_and_restarts() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let socket = tcp("127.0.0.1:0");
    let start = |number| {
        let server = machine
            .server()
            .guest(Guest::PLAIN, &python)
            .file("version.py", &guest::version(number, 0.0))
            .handed([("web", copy(&socket))])
            .arguments(["--workers", "2", "app:app"]);
        server.start()
    };
    let mut server = start(0);
    let load = Load::new(socket.local_addr().expect("it is bound")).with_new_connections().start();
    load.wait_for_version("v0");
    for number in 1..=6 {
        let version = format!("v{number}");
        if number % 3 == 0 {
            // Who comes meanwhile waits in the queue, which is not ours.
            server.stop();
            server = start(number);
        } else {
            server.write_file("version.py", &guest::version(number, 0.0));
            assert_eq!(server.reload(), Reloaded::Ok, "to {version}");
        }
        load.wait_for_version(&version);
        load.wait_for_answers(200);
    }
    let report = load.stop();
    println!("{report}");
    report.assert_nothing_lost(1_000);
    server.stop();
}

#[track_caller]
fn is_refused(server: ServerBuilder<'_>, said: &str) {
    let mut server = server.spawn();
    let status = server.wait_for_exit(Duration::from_secs(10));
    assert_eq!(status.code(), Some(2), "{}", server.log.text());
    assert!(server.log.text().contains(said), "{said:?} is not in the log");
}

#[test]
fn what_cannot_be_served_is_refused_in_plain_words() {
    let machine = Machine::shared();
    let server = || machine.server().arguments(["--welcome"]);
    let listener = tcp("127.0.0.1:0");
    is_refused(
        server().handed([("web", copy(&listener))]).arguments(["--bind", "127.0.0.1:0"]),
        "exclude each other",
    );
    is_refused(
        machine.server().handed([("web", copy(&listener))]),
        "no application is named, and sockets were handed over",
    );
    let datagram = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    is_refused(
        server().handed([("good", copy(&listener)), ("dns", datagram.into())]),
        "descriptor 4 (dns) of LISTEN_FDS is a datagram socket",
    );
    let connection = std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    is_refused(server().handed([("web", connection.into())]), "is a connection, not a listening socket");
    let file = std::fs::File::open("/dev/null").expect("there");
    is_refused(server().handed([("web", file.into())]), "descriptor 3 (web) of LISTEN_FDS is no socket");
    is_refused(
        server().handed([("web", copy(&listener))]).environment("LISTEN_FDS", "2"),
        "LISTEN_FDNAMES has 1 names",
    );
    is_refused(
        server()
            .handed([("web", copy(&listener))])
            .environment("LISTEN_FDS", "2")
            .environment("LISTEN_FDNAMES", ""),
        "descriptor 4 of LISTEN_FDS is not open",
    );
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let machine = Machine::shared();
    let server = machine.server().environment("LISTEN_PID", "1").environment("LISTEN_FDS", "1").start();
    assert!(server.log.has_line("the sockets of LISTEN_FDS are for process 1 and not for this one"));
    assert_eq!(http::get(server.address(), "/healthz").expect("an answer").status, 200);
    for worker in server.workers() {
        assert_eq!(processes::environment_variable(worker.pid, "LISTEN_FDS"), None);
    }
    server.stop();
}

#[test]
fn systemd_starts_it_at_the_first_connection() {
    if require(Tool::SystemdSocketActivate).is_none() {
        return;
    }
    let machine = Machine::shared();
    let elsewhere = TestDirectory::new();
    let path = elsewhere.join("app.sock");
    let server = machine
        .server()
        .after_shell_line(
            r#"exec systemd-socket-activate -E TEST_SERVER_MARK -l "$SOCKET" --fdname=web "$@""#,
        )
        .without_defaults()
        .environment("SOCKET", path.to_str().expect("a path of text"))
        .arguments(["--metrics", "127.0.0.1:0", "--welcome"])
        .spawn();
    let _ = server.log.wait_for_line("Listening on", Duration::from_secs(10));
    let mut connection = Connection::open_unix(&path).expect("a connection");
    assert_eq!(connection.request(&Request::get("/healthz")).expect("an answer").status, 200);
    let _ = server.log.wait_for_line("(handed over: web)", Duration::from_secs(10));
    server.signal(Signal::SIGHUP);
    let _ = server.log.wait_for_line("reload: generation 2 serves", Duration::from_secs(20));
    let mut connection = Connection::open_unix(&path).expect("a connection");
    assert_eq!(connection.request(&Request::get("/healthz")).expect("an answer").status, 200);
    server.stop();
    assert!(path.exists(), "the file is systemd's");
}
