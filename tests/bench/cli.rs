//! The bench's command line. No logic.

use std::path::PathBuf;

use clap::Parser;

use crate::{contenders::Contender, rows};

/// Measures supervise side by side with its peers, in interleaved rounds. Figures of one run are comparable with each other
/// and with nothing else.
#[derive(Debug, Parser)]
#[command(name = "bench")]
pub(crate) struct Cli {
    /// Rows to run, in the order of the table [default: all]
    #[arg(long, value_delimiter = ',', value_parser = rows::names())]
    pub(crate) rows: Vec<String>,
    /// Measure only these of each row's servers [default: those that its bounds name]
    #[arg(long, value_delimiter = ',', value_enum)]
    pub(crate) contenders: Vec<Contender>,
    /// Measure the servers that no bound names, too
    #[arg(long)]
    pub(crate) all_peers: bool,
    /// Rounds of each row [default: 6, or 20 where a bound is 0.80 or more]
    #[arg(long, value_name = "N")]
    pub(crate) rounds: Option<u32>,
    /// Length of one measurement
    #[arg(long, value_name = "S", default_value_t = 2.0)]
    pub(crate) seconds: f64,
    /// Interpreters to measure with; several are separated by commas
    #[arg(long, value_name = "PATH", value_delimiter = ',', default_value = "python3")]
    pub(crate) python: Vec<PathBuf>,
    /// Prove in a short round of each row that the bench works: only errors count, bounds do not
    #[arg(long)]
    pub(crate) smoke: bool,
    /// Where the figures are kept [default: bench/latest.json in the target directory]
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Measure the binaries that are there instead of building them first
    #[arg(long)]
    pub(crate) no_build: bool,
}
