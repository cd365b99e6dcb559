//! Promise: behind a proxy the application sees the client, not the proxy, and nobody but the proxy can say who that is. With a
//! real nginx over a unix socket and by the PROXY protocol.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use harness::{
    Guest, Machine, Nginx, Python, Server, TestDirectory, Tool,
    http::{self, Connection, Request},
    open_to_all, require,
};

/// What the application saw of the request whose reply this is.
fn scope(reply: &http::Reply) -> serde_json::Value {
    serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.text()))
}

fn client_of(connection: &mut Connection, headers: &[(&str, &str)]) -> serde_json::Value {
    let request = Request { headers, ..Request::get("/") };
    scope(&connection.request(&request).expect("an answer"))["client"].clone()
}

/// nginx as most people have it: `X-Forwarded-For` continued, `X-Forwarded-Proto` set, connections to the application kept.
fn in_front_of(nginx: &Path, directory: &Path, socket: &Path) -> (Nginx, SocketAddr) {
    let address = Nginx::free_address();
    let (main, http) = Nginx::settings_within(directory);
    let configuration = format!(
        "worker_processes 1;\nerror_log stderr warn;\n{main}events {{ worker_connections 64; }}\nhttp {{\n{http}\
         upstream application {{ server unix:{}; keepalive 8; }}\n\
         server {{ listen {address}; location / {{\n\
         proxy_pass http://application; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
         proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto https;\n\
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }} }}\n",
        socket.display()
    );
    (Nginx::start(nginx, directory, &configuration, address), address)
}

#[test]
fn http_over_a_unix_socket() {
    let (Some(nginx), Some(python)) = (require(Tool::Nginx), Python::default_one()) else { return };
    let machine = Machine::shared();
    let server = machine.server().guest(Guest::SCOPE, &python);
    let server =
        server.arguments(["--bind", "unix:web.sock", "--forwarded-allow-ips", "unix:", "app:app"]).start();
    let front = TestDirectory::new();
    open_to_all(front.path());
    open_to_all(server.directory());
    let socket = server.directory().join("web.sock");
    let (nginx, address) = in_front_of(&nginx, front.path(), &socket);

    let mut connection = Connection::open(address).expect("a connection");
    let headers = [
        ("X-Forwarded-For", "6.6.6.6"),
        ("Forwarded", "for=6.6.6.6"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Request-ID", "7b1-X"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ];
    for _ in 0..20 {
        let request = Request { headers: &headers, ..Request::get("/path?q=1") };
        let seen = scope(&connection.request(&request).expect("an answer"));
        assert_eq!(
            seen["client"],
            serde_json::json!(["127.0.0.1", 0]),
            "nginx appended it to the client's own"
        );
        assert_eq!(seen["scheme"], "https");
        assert_eq!(seen["server"], serde_json::json!(["web.sock", null]));
        let fields = seen["headers"].as_array().expect("a list");
        for field in [["x-request-id", "7b1-X"], ["traceparent", headers[4].1], ["host", "localhost"]] {
            assert!(fields.contains(&serde_json::json!(field)), "{field:?} in {fields:?}");
        }
    }
    assert_eq!(
        server.metrics().sum("supervise_connections_accepted_total", &[]),
        1.0,
        "nginx keeps its connection to us"
    );
    events_leave_as_they_are_made(address);
    drop(nginx);
    server.stop();
}

fn events_leave_as_they_are_made(address: SocketAddr) {
    let mut stream = Connection::open(address).expect("a connection");
    stream.send(&Request::get("/events").bytes()).expect("sent");
    stream.receive_until(b"data: first\n\n").expect("the first event, while the second is not there yet");
    assert_eq!(http::get(address, "/release").expect("an answer").status, 200);
    stream.receive_until(b"data: second\n\n").expect("the second event");
}

/// nginx's module for TCP, which Debian has in a package of its own.
fn stream_module() -> Option<PathBuf> {
    let file = PathBuf::from("/usr/lib/nginx/modules/ngx_stream_module.so");
    file.is_file().then_some(file)
}

fn with_proxy_protocol(machine: &Machine, python: &Python) -> Server {
    let server = machine.server().guest(Guest::SCOPE, python);
    server.arguments(["--proxy-protocol", "auto", "app:app"]).start()
}

#[test]
fn the_proxy_protocol() {
    let Some(python) = Python::default_one() else { return };
    let machine = Machine::shared();
    let server = with_proxy_protocol(&machine, &python);
    let open = |header: &[u8]| {
        let mut connection = Connection::open(server.address()).expect("a connection");
        connection.send(header).expect("sent");
        connection
    };
    let mut one = open(b"PROXY TCP4 1.2.3.4 10.0.0.1 5678 443\r\n");
    let mut two = open(&[&b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24"[..], &[0x20; 32], &[0, 9, 0, 10]].concat());
    let mut own = open(b"PROXY UNKNOWN\r\n");
    // Whoever the balancer speaks for is no proxy of ours: what it says is not believed.
    let spoofed = [("X-Forwarded-For", "6.6.6.6")];
    for _ in 0..2 {
        assert_eq!(client_of(&mut one, &spoofed), serde_json::json!(["1.2.3.4", 5678]));
        let long = "2020:2020:2020:2020:2020:2020:2020:2020";
        assert_eq!(client_of(&mut two, &spoofed), serde_json::json!([long, 9]));
        assert_eq!(client_of(&mut own, &[])[0], "127.0.0.1");
    }
    let mut none = open(b"");
    assert!(none.request(&Request::get("/")).is_err(), "a balancer that sends no header is cut off");
    let refused = [("reason", "proxy_header")];
    server.wait_for_metric("supervise_http_requests_rejected_total", &refused, 1.0, Duration::from_secs(5));

    if let (Some(nginx), Some(module)) = (require(Tool::Nginx), stream_module()) {
        let front = TestDirectory::new();
        open_to_all(front.path());
        let address = Nginx::free_address();
        let (main, _) = Nginx::settings_within(front.path());
        let configuration = format!(
            "load_module {};\nworker_processes 1;\nerror_log stderr warn;\n{main}events {{ worker_connections 64; }}\n\
             stream {{ server {{ listen {address}; proxy_pass {}; proxy_protocol on; }} }}\n",
            module.display(),
            server.address()
        );
        let nginx = Nginx::start(&nginx, front.path(), &configuration, address);
        let mut connection = Connection::open(address).expect("a connection");
        let seen = client_of(&mut connection, &[]);
        assert_eq!(seen[0], "127.0.0.1", "the client of nginx, by its own port: {seen}");
        assert!(seen[1].as_u64().is_some_and(|port| port > 0), "{seen}");
        // Before nginx, which stays for as long as it has a connection.
        drop(connection);
        drop(nginx);
    }
    server.stop();
}

#[test]
fn only_proxies_that_were_named_are_believed() {
    let Some(python) = Python::default_one() else { return };
    let machine = Machine::shared();
    let forwarded =
        [("X-Forwarded-For", "1.2.3.4"), ("Forwarded", "for=5.6.7.8"), ("X-Forwarded-Proto", "https")];
    for (arguments, client) in [
        (&[][..], "1.2.3.4"),
        (&["--forwarded-headers", "forwarded"], "5.6.7.8"),
        (&["--no-proxy-headers"], "127.0.0.1"),
        (&["--forwarded-allow-ips", "10.0.0.0/8,unix:"], "127.0.0.1"),
    ] {
        let mut server = machine.server().guest(Guest::SCOPE, &python);
        for argument in arguments {
            server = server.arguments([argument]);
        }
        let server = server.arguments(["app:app"]).start();
        let mut connection = Connection::open(server.address()).expect("a connection");
        assert_eq!(client_of(&mut connection, &forwarded)[0], client, "{arguments:?}");
        // The next request of the same connection has nothing of this one.
        assert_eq!(client_of(&mut connection, &[])[0], "127.0.0.1", "{arguments:?}");
        server.stop();
    }
}
