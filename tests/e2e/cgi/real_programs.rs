//! Programs that people really run: git's smart HTTP server, Perl of the old school, Python with the standard library's validator.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use harness::{Machine, TestDirectory, Tool, http::Request, require};

use super::{ask, get, post, programs};

#[test]
fn a_perl_form() {
    let machine = Machine::shared();
    let Some(_perl) = require(Tool::Perl) else { return };
    let server = programs(&machine).start();
    let reply = get(&server, "/form.pl?name=J%C3%BCrgen&town=Bad+Ems");
    assert_eq!((reply.status, reply.text().as_str()), (200, "name is J\u{fc}rgen\ntown is Bad Ems\n"));
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let form =
        Request { method: "POST", target: "/form.pl", headers: &headers, body: b"name=x&error=too+short" };
    let reply = ask(&server, &form);
    assert_eq!((reply.status, reply.text().as_str()), (422, "error is too short\nname is x\n"));
    let cookies = reply.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")).count();
    assert_eq!(cookies, 2);
    let _ = server.log.wait_for_line("form.pl: the form says: too short", std::time::Duration::from_secs(5));
    server.stop();
}

#[test]
fn a_python_application_with_a_validator() {
    let machine = Machine::shared();
    let Some(_python) = require(Tool::Python) else { return };
    let server = programs(&machine).start();
    assert_eq!(get(&server, "/wsgi.py").text(), "GET /wsgi.py  0\n");
    assert_eq!(post(&server, "/wsgi.py/a%20b", b"12345").text(), "POST /wsgi.py /a b 5\n");
    server.stop();
}

fn git(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("git");
    command.args([
        "-c",
        "user.name=Tester",
        "-c",
        "user.email=tester@example.org",
        "-c",
        "http.postBuffer=65536",
    ]);
    command
        .args(arguments)
        .current_dir(directory)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("no_proxy", "*");
    let output = command.output().expect("git runs");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

#[test]
fn git_clones_and_pushes() {
    let machine = Machine::shared();
    let Some(_git) = require(Tool::Git) else { return };
    let work = TestDirectory::new();
    let backend = String::from_utf8(git(work.path(), &["--exec-path"]).stdout).expect("a path of text");
    let backend = format!("{}/git-http-backend", backend.trim());
    git(work.path(), &["init", "--quiet", "--bare", "repositories/project.git"]);
    git(&work.join("repositories/project.git"), &["config", "http.receivepack", "true"]);
    let root = format!("GIT_PROJECT_ROOT={}", work.join("repositories").display());
    let server = machine
        .server()
        .arguments(["--interface", "cgi", &backend, "--env", &root, "--env", "GIT_HTTP_EXPORT_ALL=1"])
        .start();
    let url = format!("http://{}/project.git", server.address());
    git(work.path(), &["clone", "--quiet", &url, "first"]);
    // More than the post buffer, and nothing that compresses: the push is chunked.
    let noise: Vec<u8> =
        (0..400_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(work.join("first/noise.bin"), &noise).expect("a file can be written");
    git(&work.join("first"), &["add", "."]);
    git(&work.join("first"), &["commit", "--quiet", "-m", "noise"]);
    git(&work.join("first"), &["push", "--quiet", "origin", "HEAD:refs/heads/main"]);
    git(work.path(), &["clone", "--quiet", "--branch", "main", &url, "second"]);
    assert_eq!(fs::read(work.join("second/noise.bin")).expect("it came back"), noise);
    server.stop();
}
