//! The shell around the law of supervision.
pub mod cli;
pub mod config;
pub mod control_pipes;
pub mod error;
pub mod evidence;
pub mod listeners;
pub mod logging;
pub mod out_of_memory;
pub mod pid_file;
pub mod port_holder;
pub mod proc_files;
pub mod processes;
pub mod scoreboard;
pub mod signals;
pub mod watch;
/// Runs.
#[must_use]
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
