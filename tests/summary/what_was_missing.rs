//! The last lines of a test run: what this machine lacks, so that no one takes a test that could not run for one that passed.
//! With REQUIRE_ALL=1 anything missing fails the run.

use std::process::ExitCode;

use harness::{Python, Tool};

/// Python versions that the project promises to serve.
const PROMISED_MINOR_VERSIONS: std::ops::RangeInclusive<u32> = 9..=13;

fn main() -> ExitCode {
    // nextest asks for the list of tests first, and runs this program as the one test that it names.
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == "--list") {
        if !arguments.iter().any(|argument| argument == "--ignored") {
            println!("what_was_missing: test");
        }
        return ExitCode::SUCCESS;
    }
    let missing: Vec<Tool> = Tool::ALL.into_iter().filter(|tool| tool.find().is_none()).collect();
    let pythons = Python::one_of_each_version();
    println!("\n==== what could not be tested on this machine");
    for tool in &missing {
        println!("MISSING: {} (to mend: {})", tool.program(), tool.mend());
    }
    if pythons.is_empty() {
        println!("MISSING: a Python from 3.9 up with its venv module (to mend: {})", Tool::Python.mend());
    }
    for minor in PROMISED_MINOR_VERSIONS {
        if !pythons.iter().any(|python| python.version.1 == minor) {
            println!("not here: Python 3.{minor} (to add it: pyenv install 3.{minor})");
        }
    }
    let is_complete = missing.is_empty() && !pythons.is_empty();
    if is_complete {
        println!("all tools are here; Pythons: {}", names(&pythons));
    }
    let all_are_required = std::env::var_os("REQUIRE_ALL").is_some_and(|value| value == "1");
    if is_complete || !all_are_required { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn names(pythons: &[Python]) -> String {
    let names: Vec<String> = pythons.iter().map(Python::minor_version).collect();
    names.join(", ")
}
