//! Promise: every Python from 3.9 up that the machine has serves the real frameworks; one for which no extension is built is a clear
//! error that says how to build it.

use std::time::Duration;

use harness::{Guest, Machine, Python, copy_of_binaries, http};

/// Serves an application and asks it for `target`.
fn serves(machine: &Machine, guest: Guest, python: &Python, target: &str, arguments: [&str; 2]) {
    let server = machine.server().guest(guest, python).arguments(["--workers", "1", "app:app"]);
    let server = server.arguments(arguments).start();
    let reply = http::get(server.address(), target).expect("an answer");
    assert_eq!(reply.status, 200, "{} on Python {:?}: {}", guest.name, python.version, reply.text());
    let runtime = format!("{}.{}.{}", python.version.0, python.version.1, python.version.2);
    assert!(server.log.has_line(&runtime), "the log names the interpreter:\n{}", server.log.text());
    server.stop();
}

#[test]
fn each_one_serves_each_framework() {
    let machine = Machine::shared();
    let pythons = Python::one_of_each_version();
    assert!(!pythons.is_empty() || Python::default_one().is_none());
    for python in pythons {
        for event_loop in ["uvloop", "asyncio"] {
            serves(&machine, Guest::PLAIN, &python, "/", ["--loop", event_loop]);
        }
        serves(&machine, Guest::FASTAPI, &python, "/items/7", ["--loop", "auto"]);
        serves(&machine, Guest::STARLETTE, &python, "/stream", ["--loop", "auto"]);
        serves(&machine, Guest::DJANGO, &python, "/async", ["--loop", "auto"]);
    }
}

#[test]
fn a_missing_extension_is_explained() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let directory = harness::TestDirectory::new();
    // Programs without an extension beside them, in a virtual environment without the package.
    let binaries = copy_of_binaries(&directory.join("e2e"));
    let server = machine.server().binaries(binaries).guest(Guest::PLAIN, &python).arguments(["app:app"]);
    let mut server = server.spawn();
    let status = server.wait_for_exit(Duration::from_secs(15));
    let text = server.log.text();
    assert_eq!(status.code(), Some(3), "{text}");
    assert!(text.contains("cargo build --release -p worker-python"), "the command that mends it:\n{text}");
    assert!(text.contains(&python.minor_version()), "the version:\n{text}");
    assert!(!text.contains("Traceback"), "no traceback of ours:\n{text}");
}

#[test]
fn the_extension_is_linked_to_no_libpython() {
    let _machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    python.build_extension();
    let extension = harness::product_directory().join("libworker_python.so");
    let output = std::process::Command::new("ldd").arg(&extension).output().expect("ldd runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("libc.so"), "{text}");
    assert!(!text.contains("libpython"), "{text}");
}
