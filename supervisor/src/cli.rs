//! The command line as clap sees it. No logic.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config::raw::RawSettings;

/// Serves a web application with supervised workers.
#[derive(Debug, Parser)]
#[command(
    name = "supervise",
    version,
    about = "Serves a web application with supervised workers",
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = "Examples:\n  supervise myapp.main:app\n  supervise -w auto -b 0.0.0.0:8000 myapp.main:app\n  supervise -c supervise.yaml\n\n\
        Signals: HUP reload, TERM graceful stop, INT/QUIT quick stop, TTIN/TTOU one worker more/fewer, USR1 reopen log files.\n\
        Each setting is also a key of the YAML (`boot_timeout: 30s`) and an environment variable (SUPERVISE_BOOT_TIMEOUT)."
)]
pub struct Cli {
    /// What else than to run.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to run.
    #[command(flatten)]
    pub run: RunOptions,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Checks configuration, paths and application name, and exits: 0 good, 78 bad file, 2 bad option
    CheckConfig(Box<RunOptions>),
    /// Plays a run that --record wrote, and shows each decision: 0 decided as recorded, 1 decided otherwise
    Replay {
        /// The recording
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// The settings and where to read more of them.
#[derive(Debug, clap::Args)]
pub struct RunOptions {
    /// YAML file with the same settings [default: supervise.yaml where it exists]
    #[arg(short = 'c', long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The settings themselves.
    #[command(flatten)]
    pub settings: RawSettings,
}
