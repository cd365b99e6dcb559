//! Promise: a pid file or unix socket that a dead instance left is replaced, one of a living instance is refused; addresses of all
//! kinds can be bound, several at once.

use std::{fs, time::Duration};

use harness::{
    Machine, ServerBuilder,
    http::{Connection, Request},
    processes::Signal,
};

#[track_caller]
fn is_refused(server: ServerBuilder<'_>, code: i32, said: &str) {
    let mut server = server.spawn();
    let status = server.wait_for_exit(Duration::from_secs(10));
    assert_eq!(status.code(), Some(code), "{}", server.log.text());
    assert!(server.log.text().contains(said), "{said:?} is not in the log");
}

#[test]
fn a_unix_socket() {
    let machine = Machine::shared();
    let server = machine.server().arguments(["--welcome", "--bind", "unix:web.sock"]).start();
    let socket = server.directory().join("web.sock");
    let mut connection = Connection::open_unix(&socket).expect("a connection");
    assert_eq!(connection.request(&Request::get("/healthz")).expect("an answer").status, 200);

    let path = socket.to_str().expect("a path of text").to_owned();
    let bind = format!("unix:{path}");
    is_refused(machine.server().arguments(["--welcome", "--bind", &bind]), 69, &path);
    assert_eq!(connection.request(&Request::get("/healthz")).expect("still served").status, 200);
    server.stop();
    assert!(!socket.exists(), "the socket file is removed at the stop");
}

#[test]
fn a_unix_socket_of_a_dead_instance_is_replaced() {
    let machine = Machine::shared();
    let directory = harness::TestDirectory::new();
    let socket = directory.join("web.sock");
    let bind = format!("unix:{}", socket.display());
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
    assert!(socket.exists(), "a stale socket file");
    let server = machine.server().arguments(["--welcome", "--bind", &bind]).start();
    let mut connection = Connection::open_unix(&socket).expect("a connection");
    assert_eq!(connection.request(&Request::get("/healthz")).expect("an answer").status, 200);
    server.stop();
}

#[test]
fn a_file_that_is_no_socket_is_never_removed() {
    let machine = Machine::shared();
    let directory = harness::TestDirectory::new();
    let file = directory.join("precious.txt");
    fs::write(&file, "do not touch").expect("a file");
    let bind = format!("unix:{}", file.display());
    is_refused(machine.server().arguments(["--welcome", "--bind", &bind]), 69, "precious.txt");
    assert_eq!(fs::read_to_string(&file).expect("still there"), "do not touch");
}

#[test]
fn a_pid_file() {
    let machine = Machine::shared();
    // A process id that cannot be alive: beyond the kernel's largest (proc(5), pid_max is at most 2^22).
    let server =
        machine.server().file("supervise.pid", "4194305\n").arguments(["--pid", "supervise.pid"]).start();
    let file = server.directory().join("supervise.pid");
    assert_eq!(fs::read_to_string(&file).expect("the pid file").trim(), server.pid().to_string());

    let path = file.to_str().expect("a path of text").to_owned();
    is_refused(machine.server().arguments(["--pid", &path]), 69, &server.pid().to_string());
    assert_eq!(fs::read_to_string(&file).expect("untouched").trim(), server.pid().to_string());
    server.signal(Signal::SIGHUP);
    server.stop();
    assert!(!file.exists(), "the pid file is removed at the stop");
}

#[test]
fn several_addresses_at_once() {
    let machine = Machine::shared();
    let mut binds = vec!["--welcome", "--bind", "127.0.0.1:0", "--bind", "unix:web.sock"];
    // Some containers have no IPv6.
    let has_ipv6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    if has_ipv6 {
        binds.extend(["--bind", "[::1]:0"]);
    }
    let mut server = machine.server();
    for argument in binds {
        server = server.arguments([argument]);
    }
    let server = server.start();
    assert_eq!(harness::http::get(server.address(), "/healthz").expect("an answer").status, 200);
    let mut unix = Connection::open_unix(&server.directory().join("web.sock")).expect("a connection");
    assert_eq!(unix.request(&Request::get("/healthz")).expect("an answer").status, 200);
    if has_ipv6 {
        let text = server.log.text();
        let (_, after) = text.split_once("http://[::1]:").expect("the address is printed");
        let port: u16 =
            after.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a port");
        let address = (std::net::Ipv6Addr::LOCALHOST, port).into();
        assert_eq!(harness::http::get(address, "/healthz").expect("an answer").status, 200);
    }
    server.stop();
}

#[test]
fn the_port_of_the_environment_binds_all_addresses() {
    let machine = Machine::shared();
    let server = machine
        .server()
        .without_defaults()
        .environment("PORT", "0")
        .arguments(["--metrics", "off", "--welcome"])
        .start();
    let line = server.log.wait_for_line("listening on http://", Duration::from_secs(5));
    assert!(line.contains("http://0.0.0.0:"), "{line}");
    server.stop();
}
