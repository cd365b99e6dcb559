//! The `worker` program: calls the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    worker::program::main()
}
