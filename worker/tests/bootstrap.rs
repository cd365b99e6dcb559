//! What the bootstrap says when it cannot hand over to the extension. Needs any python3; the common case, where it can, is tested end
//! to end.

use std::process::{Command, Output, Stdio};

const BOOTSTRAP: &str = include_str!("../src/python_launch/bootstrap.py");

/// Runs the bootstrap where no extension was ever built. `None` without a Python.
fn run(prelude: &str) -> Option<Output> {
    let arguments = ["-c", &format!("{prelude}\n{BOOTSTRAP}"), "/nowhere/release", "/", "app:app"];
    let output = Command::new("python3").args(arguments).stdin(Stdio::null()).output();
    if output.is_err() {
        eprintln!("MISSING python3: the bootstrap is not tested (mend: apt-get install python3)");
        assert!(std::env::var_os("REQUIRE_ALL").is_none(), "python3 is required");
    }
    output.ok()
}

#[test]
fn a_missing_extension_is_a_message_with_the_command_that_builds_it() {
    let Some(output) = run("import sys; sys.modules['worker_python'] = None") else { return };
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.starts_with("error: no extension is built for Python 3."), "{stderr}");
    assert!(stderr.contains("cargo build --release -p worker-python"), "{stderr}");
    assert!(stderr.contains("/nowhere/release/libworker_python.so: not there"), "{stderr}");
    assert!(!stderr.contains("Traceback"), "{stderr}");
}

#[test]
fn a_python_that_is_too_old_is_told_so() {
    let Some(output) = run("import sys; sys.version_info = (3, 8, 1)") else { return };
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("Python 3.9 or later is needed"), "{stderr}");
    assert!(!stderr.contains("Traceback"), "{stderr}");
}
