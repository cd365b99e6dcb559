//! The shell around the law of supervision.
pub mod cli;
pub mod config;
pub mod error;
/// Runs.
#[must_use]
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
