//! Promise: CGI/1.1 by the letter of RFC 3875, real programs, and no program that could hurt the server or outlive it.

mod containment;
mod real_programs;
mod rfc3875;

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    time::Duration,
};

use harness::{
    Machine, Server, ServerBuilder, http,
    http::{Connection, Reply, Request},
    processes::{self, Process},
    repository, wait_until,
};

/// A server that is not started yet, with the programs of tests/apps/cgi in `cgi-bin`.
fn programs(machine: &Machine) -> ServerBuilder<'_> {
    let builder = machine.server().arguments(["--interface", "cgi", "cgi-bin"]);
    let directory = builder.directory().join("cgi-bin");
    fs::create_dir_all(directory.join("deeper")).expect("a directory");
    let source = repository().join("tests/apps/cgi");
    for entry in fs::read_dir(&source).expect("the programs are there").flatten() {
        put(&directory.join(entry.file_name()), &fs::read(entry.path()).expect("a program"));
    }
    for (copy, original) in
        [("nph-raw.sh", "raw.sh"), ("deeper/show.sh", "show.sh"), (".hidden.sh", "show.sh")]
    {
        put(&directory.join(copy), &fs::read(source.join(original)).expect("a program"));
    }
    fs::write(directory.join("readme.txt"), "no program").expect("a file");
    put(&directory.join("no-interpreter.sh"), b"#!/no/such/interpreter\n");
    symlink("/bin/ls", directory.join("outside")).expect("a link");
    symlink("show.sh", directory.join("inside.sh")).expect("a link");
    builder
}

fn put(file: &Path, program: &[u8]) {
    fs::write(file, program).expect("a file can be written");
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("a mode can be set");
}

fn ask(server: &Server, request: &Request<'_>) -> Reply {
    let mut connection = Connection::open(server.address()).expect("a connection");
    connection
        .request(request)
        .unwrap_or_else(|error| panic!("{} {}: {error}", request.method, request.target))
}

fn get(server: &Server, target: &str) -> Reply {
    http::get(server.address(), target).unwrap_or_else(|error| panic!("{target}: {error}"))
}

fn post(server: &Server, target: &str, body: &[u8]) -> Reply {
    ask(server, &Request { method: "POST", target, headers: &[], body })
}

/// What runs for the programs of this server: everything whose environment names a program in its directory.
fn running(server: &Server) -> Vec<Process> {
    let directory = server.directory().to_str().expect("a path of text").to_owned();
    let mut processes = processes::all();
    processes.retain(|process| {
        !process.is_zombie()
            && processes::environment_variable(process.pid, "SCRIPT_FILENAME")
                .is_some_and(|file| file.starts_with(&directory))
    });
    processes
}

fn wait_until_nothing_runs(server: &Server) {
    wait_until("the end of all programs", Duration::from_secs(10), || running(server).is_empty());
}

#[test]
fn programs_are_mounted_where_their_proxy_says() {
    let machine = Machine::shared();
    for (option, target) in [
        (["--forwarder-headers", "SCRIPT_NAME"], "/a%20b/deeper/show.sh/c%20d"),
        (["--forwarded-headers", "x-forwarded-prefix"], "/deeper/show.sh/c%20d"),
    ] {
        let server = programs(&machine).arguments(option).start();
        let headers = [("SCRIPT_NAME", "/a%20b"), ("X-Forwarded-Prefix", "/a%20b")];
        let told = ask(&server, &Request { headers: &headers, ..Request::get(target) }).text();
        for line in ["SCRIPT_NAME=/a b/deeper/show.sh", "PATH_INFO=/c d", &format!("REQUEST_URI={target}")] {
            assert!(told.lines().any(|it| it == line), "{option:?}: {line} is not in\n{told}");
        }
        wait_until_nothing_runs(&server);
        server.stop();
    }
}
