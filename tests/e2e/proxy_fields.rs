//! Promise: the fields that an operator names tell an application of any kind where it is mounted, by which scheme its client came and
//! who the user is; from a trusted peer only. What a client writes into such a field tells nothing.

use harness::{
    Guest, Machine, Python, Server, ServerBuilder,
    http::{Connection, Request},
};
use serde_json::{Value, json};

const STRANGERS_ONLY: [&str; 2] = ["--forwarded-allow-ips", "10.0.0.0/8"];

fn start(mut server: ServerBuilder<'_>, arguments: &[&str]) -> Server {
    for argument in arguments {
        server = server.arguments([argument]);
    }
    server.start()
}

fn told(server: &Server, target: &str, headers: &[(&str, &str)]) -> Value {
    let mut connection = Connection::open(server.address()).expect("a connection");
    let reply = connection.request(&Request { headers, ..Request::get(target) }).expect("an answer");
    serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.text()))
}

#[test]
fn a_wsgi_application_is_mounted_where_its_proxy_says() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let by_script_name = ["--forwarder-headers", "SCRIPT_NAME,REMOTE_USER"];
    let by_prefix = ["--forwarded-headers", "x-forwarded-prefix"];
    let fields = [
        ("SCRIPT_NAME", "/a%20b"),
        ("X-Forwarded-Prefix", "/taken"),
        ("Remote-User", "root"),
        ("REMOTE_USER", "alice"),
    ];
    let distrusted = [by_script_name, STRANGERS_ONLY].concat();
    // Options, target; SCRIPT_NAME, PATH_INFO and the user that the application sees.
    let cases: [(&[&str], &str, [&str; 3]); 4] = [
        (&by_script_name, "/a%20b/environ", ["/a b", "/environ", "alice"]),
        (&by_prefix, "/environ", ["/taken", "/environ", "root"]),
        (&[], "/environ", ["", "/environ", "root"]),
        (&distrusted, "/environ", ["", "/environ", "root"]),
    ];
    for class in ["sync", "threads"] {
        for (options, target, expected) in cases {
            let server =
                machine.server().guest(Guest::WSGI, &python).arguments(["--worker-class", class, "app:app"]);
            let server = start(server, options);
            let seen = told(&server, target, &fields);
            let seen = &seen["values"];
            let names = ["SCRIPT_NAME", "PATH_INFO", "HTTP_REMOTE_USER"];
            assert_eq!(
                names.map(|name| &seen[name]),
                expected.map(|value| json!(value)).each_ref(),
                "{class} {options:?}"
            );
            assert_eq!(seen["REQUEST_URI"], target, "as received: {class} {options:?}");
            assert!(seen.get("HTTP_SCRIPT_NAME").is_none_or(|_| options == by_script_name), "{seen}");
            server.stop();
        }
    }
}

#[test]
fn an_asgi_application_is_mounted_where_its_proxy_says() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let fields = [("SCRIPT_NAME", "/whole"), ("X-Script-Name", "/app")];
    let script_name: &[&str] = &["--forwarder-headers", "SCRIPT_NAME"];
    let x_script_name: &[&str] = &["--forwarded-headers", "x-script-name"];
    let verbatim: &[&str] = &["--forwarder-headers", "SCRIPT_NAME", "--root-path-mode", "verbatim"];
    let distrusted = [script_name, &STRANGERS_ONLY].concat();
    // Options, target; root_path, path.
    for (options, target, expected) in [
        (script_name, "/whole/x", ("/whole", "/whole/x")),
        (script_name, "/x", ("", "/x")),
        (verbatim, "/whole/x", ("/whole", "/whole/x")),
        (x_script_name, "/app/x", ("/app", "/app/x")),
        (x_script_name, "/x", ("/app", "/app/x")),
        (&distrusted, "/whole/x", ("", "/whole/x")),
    ] {
        let server = machine.server().guest(Guest::ASGI_RULES, &python).arguments(["app:app"]);
        let server = start(server, options);
        let seen = told(&server, target, &fields);
        assert_eq!(
            (&seen["root_path"], &seen["path"]),
            (&json!(expected.0), &json!(expected.1)),
            "{options:?} {target}"
        );
        assert_eq!(seen["raw_path"], seen["path"]);
        server.stop();
    }
}

#[test]
fn the_scheme_by_fields_of_any_name() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let named: &[&str] = &["--secure-scheme-headers", "Front-End-Https=on,X-FORWARDED-PROTO=https"];
    let distrusted = [named, &STRANGERS_ONLY].concat();
    for (options, expected) in [
        (named, ["https", "https", "http", "http"]),
        (&distrusted, ["http"; 4]),
        (&[], ["http", "https", "http", "https"]),
    ] {
        let server =
            start(machine.server().guest(Guest::ASGI_RULES, &python).arguments(["app:app"]), options);
        let requests: [&[(&str, &str)]; 4] = [
            &[("Front-End-Https", "on")],
            &[("X-Forwarded-Proto", "https")],
            &[("Front-End-Https", "off")],
            // They contradict each other.
            &[("Front-End-Https", "off"), ("X-Forwarded-Proto", "https")],
        ];
        let seen = requests.map(|fields| told(&server, "/", fields)["scheme"].clone());
        assert_eq!(seen, expected.map(|scheme| json!(scheme)), "{options:?}");
        server.stop();
    }
}

#[test]
fn fields_that_could_contradict_each_other_are_refused() {
    let machine = Machine::shared();
    for (options, said) in [
        (["--forwarded-headers", "forwarded", "--secure-scheme-headers", "X-Ssl=on"], "tells the scheme"),
        (
            ["--forwarded-headers", "x-script-name", "--forwarder-headers", "SCRIPT_NAME"],
            "where the application is mounted",
        ),
        (["--forwarder-headers", "Remote-User", "--workers", "1"], "those without are passed on anyway"),
    ] {
        let mut server = machine.server().arguments(options).spawn();
        let status = server.wait_for_exit(std::time::Duration::from_secs(10));
        assert_eq!(status.code(), Some(2), "{options:?}");
        assert!(server.log.text().contains(said), "{options:?}: {}", server.log.text());
    }
}
