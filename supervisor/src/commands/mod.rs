//! Subcommands: whatever `supervise` does besides running a server.

pub mod check_config;
pub mod replay;
