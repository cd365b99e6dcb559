//! The `supervise` program: calls the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    supervisor::main()
}
