//! Promise: the reactor of the Python worker carries more than HTTP/1: HTTP/2 by hyper and TLS by rustls run on it unchanged, on
//! uvloop and on asyncio. Not offered to users yet.

use std::process::Command;

use harness::{Machine, Python, repository};

#[test]
fn http2_and_tls_run_on_the_reactor() {
    let _machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let extension = python.build_wall_tests();
    let interpreter = python.virtual_environment().join("bin/python3");
    for event_loop in ["asyncio", "uvloop"] {
        let output = Command::new(&interpreter)
            .arg(repository().join("tests/apps/walls_client.py"))
            .arg(&extension)
            .arg(event_loop)
            .output()
            .expect("the interpreter runs");
        let (said, complained) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(
            output.status.success() && said.trim_end() == "the walls hold",
            "on {event_loop}: {}\n{said}{complained}",
            output.status
        );
    }
}
