//! The bench: supervise side by side with its installed peers, in interleaved rounds on two processors.
//!
//! `cargo run --release -p tests --bin bench` builds what it measures, installs the peers, prints the table and keeps it as
//! JSON. The figure is the server's CPU time per request over its whole process tree ([`process_tree`]), because it can be
//! compared on a shared machine where requests per second cannot. What is promised stands in [`rows`]. Exit code 1: a
//! measurement failed or a bound was missed.

mod cli;
mod contenders;
mod h2load;
mod load;
mod measure;
mod peers;
mod process_tree;
mod processors;
mod products;
mod report;
mod request;
mod rows;
mod server;
mod statistics;

use std::{
    env, fs, io,
    path::PathBuf,
    process::{Command, ExitCode},
    time::Duration,
};

use clap::Parser;
use nix::fcntl::{Flock, FlockArg};

use crate::{
    cli::Cli,
    contenders::{Application, Contender, Places},
    measure::{Bench, Sample},
    peers::Python,
    processors::{Layout, Processors},
    products::Products,
    report::{Report, RowReport},
    rows::{Answer, ROWS, Row, Workload},
};

/// Length of one measurement of a smoke run.
const SMOKE_SECONDS: f64 = 0.2;
/// What the built-in answer is when supervise is not there to say it.
const SOME_BODY: &[u8] = b"Hello, World!";

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> io::Result<ExitCode> {
    let products = Products::locate()?;
    let _alone = one_bench_at_a_time()?;
    // What a server leaves behind becomes our child, so that it can be found and ended.
    nix::sys::prctl::set_child_subreaper(true)?;
    let mut pythons = Vec::new();
    for program in &cli.python {
        pythons.push(peers::install(program, &products.target)?);
    }
    if !cli.no_build {
        products.build_native()?;
        products.build_extensions(&pythons)?;
    }
    let processors = Processors::choose()?;
    processors.move_to_load()?;
    let mut report = Report {
        date: peers::run(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%MZ"]))?.trim().to_owned(),
        commit: products.commit(),
        machine: machine(&processors)?,
        profile: products.profile.clone(),
        seconds: if cli.smoke { SMOKE_SECONDS } else { cli.seconds },
        nginx: peers::nginx_version(),
        rows: Vec::new(),
        errors: Vec::new(),
        pythons,
    };
    let selected = |row: &&Row| cli.rows.is_empty() || cli.rows.iter().any(|name| name == row.name);
    for index in 0..report.pythons.len() {
        let places = places(&products, &report.pythons[index])?;
        for row in ROWS.iter().filter(selected) {
            // What runs no Python is measured once.
            if index == 0 || row.application != Application::BuiltIn {
                run_row(cli, row, &places, &processors, index, &mut report);
            }
        }
    }
    keep(cli, &products, &report)?;
    println!("{}", report.markdown());
    let missed = if cli.smoke { 0 } else { report.missed() };
    eprintln!("bench: {} errors, {missed} bounds missed", report.errors.len());
    Ok(if report.errors.is_empty() && missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Two at once would measure each other.
fn one_bench_at_a_time() -> io::Result<Flock<fs::File>> {
    let path = env::temp_dir().join("supervise-bench.lock");
    let open = || fs::OpenOptions::new().create(true).append(true).open(&path);
    match Flock::lock(open()?, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_file, nix::errno::Errno::EWOULDBLOCK)) => {
            eprintln!("bench: waiting for another bench to end ({})", path.display());
            Flock::lock(open()?, FlockArg::LockExclusive).map_err(|(_file, errno)| errno.into())
        }
        Err((_file, errno)) => Err(errno.into()),
    }
}

fn places(products: &Products, python: &Python) -> io::Result<Places> {
    let scratch = products.target.join("bench");
    fs::create_dir_all(&scratch)?;
    let places = Places {
        binaries: products.binaries.clone(),
        venv: python.venv.clone(),
        python_minor: python.minor,
        apps: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("bench/apps"),
        scratch,
    };
    places.make_certificate()?;
    Ok(places)
}

fn run_row(
    cli: &Cli,
    row: &Row,
    places: &Places,
    processors: &Processors,
    python: usize,
    report: &mut Report,
) {
    let version = report.pythons[python].version.clone();
    let mut contenders = row.contenders();
    if cli.all_peers || !cli.contenders.is_empty() {
        contenders.extend_from_slice(row.others);
    }
    contenders.retain(|contender| {
        (cli.contenders.is_empty() || cli.contenders.contains(contender)) && contender.exists(places)
    });
    if contenders.is_empty() {
        return;
    }
    match samples(cli, row, places, processors, &contenders, report) {
        Ok(samples) => report.rows.push(RowReport::new(row, &version, samples)),
        Err(error) => report.errors.push(format!("{}: {error}", row.name)),
    }
}

/// Rounds A B C A B C. A contender that fails once is left out of the later rounds: it has told what it had to tell.
fn samples(
    cli: &Cli,
    row: &Row,
    places: &Places,
    processors: &Processors,
    contenders: &[Contender],
    report: &mut Report,
) -> io::Result<Vec<Sample>> {
    let seconds = if cli.smoke { SMOKE_SECONDS } else { cli.seconds };
    let duration = Duration::try_from_secs_f64(seconds).map_err(io::Error::other)?;
    let rounds = if cli.smoke { 1 } else { cli.rounds.unwrap_or_else(|| row.rounds()) };
    let mut bench = Bench { places, processors, row, duration, body: SOME_BODY };
    let body = match row.answer {
        Answer::Exactly(body) => body.as_bytes().to_vec(),
        Answer::Uniform { bytes } => vec![b'x'; bytes],
        Answer::AsSupervise if contenders.contains(&Contender::Supervise) => {
            bench.first_body(Contender::Supervise)?
        }
        Answer::AsSupervise => SOME_BODY.to_vec(),
    };
    bench.body = &body;
    let mut contenders = contenders.to_vec();
    let mut samples = Vec::new();
    // The first start of each reads files that later ones find in memory: round 0 does not count.
    let first = u32::from(!matches!(row.workload, Workload::Start) || cli.smoke);
    for round in first..=rounds {
        contenders.retain(|contender| match bench.measure(*contender, round) {
            Ok(sample) => {
                eprintln!("bench: {} round {round} {}: {}", row.name, contender.name(), sample.summary());
                samples.extend((round > 0).then_some(sample));
                true
            }
            Err(error) => {
                eprintln!("bench: {} round {round} {}: {error}", row.name, contender.name());
                report.errors.push(format!("{}, round {round}, {}: {error}", row.name, contender.name()));
                false
            }
        });
    }
    Ok(samples)
}

fn keep(cli: &Cli, products: &Products, report: &Report) -> io::Result<()> {
    let file = cli.json.clone().unwrap_or_else(|| products.target.join("bench/latest.json"));
    fs::write(&file, serde_json::to_vec_pretty(report)?)?;
    eprintln!("bench: kept in {}", file.display());
    Ok(())
}

fn machine(processors: &Processors) -> io::Result<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let layout = match processors.layout {
        Layout::Apart { server, load } => format!("server on CPU {server}, load on CPU {load}, never asleep"),
        Layout::Shared { both } => {
            format!("server and load share CPU {both}: figures of latency mean nothing")
        }
    };
    Ok(format!("{}, Linux {}, {layout}", model.trim_start_matches([' ', '\t', ':']), kernel.trim()))
}
