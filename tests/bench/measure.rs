//! One measurement: a fresh server, warmed up, used, stopped. Fresh each time, because a process keeps its luck (memory
//! layout, hash seeds, what its collector has promoted) for life: kept alive, one lucky server would win every round.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    contenders::{Contender, Persistence, Places, Served, StatusServer, Transport},
    h2load::{H2load, LoadKind, Loaded},
    load::{Client, Exchange, Expected, Outcome, Pace, run_new_connections, websocket},
    process_tree,
    processors::{MachineTime, Processors},
    rows::{Figure, Protocol, Row, Workload},
    server::{self, Probe, Server},
    statistics::percentile,
};

/// A server that sends nothing for this long is broken.
const PATIENCE: Duration = Duration::from_secs(5);
/// Enough for every route to have run some hundred times, caches and adaptive interpreters included.
const WARM_UP: Duration = Duration::from_millis(500);
/// Workers that have not come up by then will not.
const SETTLE_PATIENCE: Duration = Duration::from_secs(20);
/// A tree that uses less CPU than `SETTLED_CPU` in this window is idle.
const SETTLE_WINDOW: Duration = Duration::from_millis(500);
const SETTLED_CPU: Duration = Duration::from_millis(8);
/// Wake-ups are rare: they are counted for this many times the length of a load measurement.
const IDLE_FACTOR: u32 = 5;

/// What all measurements of a row share.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    pub(crate) places: &'a Places,
    pub(crate) processors: &'a Processors,
    pub(crate) row: &'a Row,
    pub(crate) duration: Duration,
    /// The exact body of every answer.
    pub(crate) body: &'a [u8],
}

/// The result of one measurement.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sample {
    pub(crate) contender: Contender,
    pub(crate) round: u32,
    pub(crate) figures: BTreeMap<Figure, f64>,
    /// None for what is over before the kernel's counters move.
    pub(crate) noise: Option<Noise>,
}

impl Sample {
    /// One line for whoever watches.
    pub(crate) fn summary(&self) -> String {
        let figures: Vec<String> =
            self.figures.iter().map(|(figure, value)| format!("{value:.2} {}", figure.title())).collect();
        let noise =
            self.noise.map_or(String::new(), |noise| format!(", {:.2} foreign", noise.foreign_processors));
        figures.join(", ") + &noise
    }
}

impl Bench<'_> {
    /// Measures `contender` once. Any failed request is an error.
    pub(crate) fn measure(&self, contender: Contender, round: u32) -> io::Result<Sample> {
        let workers = match self.row.workload {
            Workload::Idle { workers } => workers,
            Workload::Saturated { .. }
            | Workload::H2load { .. }
            | Workload::WebSocketEcho { .. }
            | Workload::Paced { .. }
            | Workload::NewConnections { .. }
            | Workload::Start => 1,
        };
        let (server, address) = self.start(contender, workers)?;
        let exchange = Exchange {
            address,
            opening: None,
            request: self.row.request(address.port()),
            expected: Expected::Body(self.body.to_vec()),
            patience: PATIENCE,
        };
        let (figures, noise) = match self.row.workload {
            Workload::Saturated { connections } => {
                self.keep_alive(contender, &server, exchange, connections, Pace::Closed)?
            }
            Workload::H2load { connections, streams } => {
                let kind = LoadKind::of(contender, self.row.protocol);
                self.h2load(&server, address, kind, connections, streams)?
            }
            Workload::WebSocketEcho { clients, message_bytes } => {
                let exchange = websocket::echo(exchange, message_bytes);
                self.keep_alive(contender, &server, exchange, clients, Pace::Closed)?
            }
            Workload::Paced { rate, connections } => {
                self.keep_alive(contender, &server, exchange, connections, Pace::Open { rate })?
            }
            Workload::NewConnections { at_a_time } => self.new_connections(&server, &exchange, at_a_time)?,
            Workload::Start => {
                let milliseconds = server.start_time.as_secs_f64() * 1000.0;
                (BTreeMap::from([(Figure::StartMilliseconds, milliseconds)]), None)
            }
            Workload::Idle { workers } => self.idle(&server, workers)?,
        };
        server.stop()?;
        Ok(Sample { contender, round, figures, noise })
    }

    /// The body that `contender` answers, whatever it is.
    pub(crate) fn first_body(&self, contender: Contender) -> io::Result<Vec<u8>> {
        let (mut server, _) = self.start(contender, 1)?;
        let body = std::mem::take(&mut server.first_body);
        server.stop()?;
        Ok(body)
    }

    fn start(&self, contender: Contender, workers: u32) -> io::Result<(Server, SocketAddr)> {
        let port = server::free_port()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let status_server = match self.row.workload {
            Workload::Idle { .. } => StatusServer::On,
            Workload::Saturated { .. }
            | Workload::H2load { .. }
            | Workload::WebSocketEcho { .. }
            | Workload::Paced { .. }
            | Workload::NewConnections { .. }
            | Workload::Start => StatusServer::Off,
        };
        let protocol = self.row.protocol;
        let served = Served {
            application: self.row.application,
            protocol,
            port,
            workers,
            status_server,
            fixed_body: self.body,
        };
        let mut command = contender.command(self.places, &served)?;
        let request = self.row.request(port);
        let log = self.places.scratch.join(format!("{}-{}.log", self.row.name, contender.name()));
        let probe = match (contender.transport(protocol), protocol) {
            (Transport::Tls, _) => Probe::Https,
            (Transport::Plain, Protocol::Http2) => Probe::Http2,
            (Transport::Plain, Protocol::Http1 | Protocol::Http1OverTls | Protocol::WebSocket) => {
                Probe::Http1(&request)
            }
        };
        let start = || Server::start(&mut command, address, probe, &log);
        // A start is measured as a user would see it, with every processor; load always on one.
        let server = match self.row.workload {
            Workload::Start => self.processors.anywhere(start)?,
            Workload::Saturated { .. }
            | Workload::H2load { .. }
            | Workload::WebSocketEcho { .. }
            | Workload::Paced { .. }
            | Workload::NewConnections { .. }
            | Workload::Idle { .. } => self.processors.on_server(start)?,
        }?;
        Ok((server, address))
    }

    fn keep_alive(
        &self,
        contender: Contender,
        server: &Server,
        exchange: Exchange,
        connections: usize,
        pace: Pace,
    ) -> io::Result<(BTreeMap<Figure, f64>, Option<Noise>)> {
        let mut client = Client::connect(exchange, connections, self.processors.waiting())?;
        let persistence = contender.persistence();
        sound(&client.run(pace, WARM_UP.min(self.duration))?, persistence, server)?;
        let account = Account::open()?;
        let cpu_before = process_tree::cpu_time(server.pid())?;
        let mut outcome = client.run(pace, self.duration)?;
        let cpu = process_tree::cpu_time(server.pid())?.saturating_sub(cpu_before);
        let noise = account.close(cpu)?;
        sound(&outcome, persistence, server)?;
        Ok((load_figures(&mut outcome, cpu), Some(noise)))
    }

    fn h2load(
        &self,
        server: &Server,
        address: SocketAddr,
        kind: LoadKind,
        connections: u32,
        streams: u32,
    ) -> io::Result<(BTreeMap<Figure, f64>, Option<Noise>)> {
        let load = H2load { address, path: self.row.path, kind, connections, streams };
        let cpu = || process_tree::cpu_time(server.pid());
        let Loaded { completed, cpu } = load.run(WARM_UP.min(self.duration), self.duration, cpu)?;
        // The load is another process: what it used cannot be told from what strangers used.
        let figures = BTreeMap::from([
            (Figure::CpuMicrosecondsPerRequest, cpu.as_secs_f64() * 1e6 / as_f64(completed)),
            (Figure::RequestsPerSecond, as_f64(completed) / self.duration.as_secs_f64()),
        ]);
        Ok((figures, None))
    }

    fn new_connections(
        &self,
        server: &Server,
        exchange: &Exchange,
        at_a_time: usize,
    ) -> io::Result<(BTreeMap<Figure, f64>, Option<Noise>)> {
        let waiting = self.processors.waiting();
        let warmed_up = run_new_connections(exchange, at_a_time, waiting, WARM_UP.min(self.duration))?;
        sound(&warmed_up, Persistence::Kept, server)?;
        let account = Account::open()?;
        let cpu_before = process_tree::cpu_time(server.pid())?;
        let mut outcome = run_new_connections(exchange, at_a_time, waiting, self.duration)?;
        let cpu = process_tree::cpu_time(server.pid())?.saturating_sub(cpu_before);
        let noise = account.close(cpu)?;
        sound(&outcome, Persistence::Kept, server)?;
        Ok((load_figures(&mut outcome, cpu), Some(noise)))
    }

    fn idle(&self, server: &Server, workers: u32) -> io::Result<(BTreeMap<Figure, f64>, Option<Noise>)> {
        settle(server, workers)?;
        let account = Account::open()?;
        let cpu_before = process_tree::cpu_time(server.pid())?;
        let wake_ups_before = process_tree::wake_ups(server.pid())?;
        let began = Instant::now();
        server::pause(self.duration * IDLE_FACTOR);
        let wake_ups = process_tree::wake_ups(server.pid())? - wake_ups_before;
        let seconds = began.elapsed().as_secs_f64();
        let noise = account.close(process_tree::cpu_time(server.pid())?.saturating_sub(cpu_before))?;
        let mut tree_bytes = 0;
        for pid in process_tree::pids(server.pid())? {
            tree_bytes += process_tree::proportional_set_bytes(pid)?;
        }
        let supervisor_bytes = process_tree::proportional_set_bytes(server.pid())?;
        let figures = BTreeMap::from([
            (Figure::SupervisorPssMebibytes, mebibytes(supervisor_bytes)),
            (Figure::TreePssMebibytes, mebibytes(tree_bytes)),
            (Figure::SupervisorWakeUpsPerSecond, as_f64(wake_ups) / seconds),
        ]);
        Ok((figures, Some(noise)))
    }
}

/// Waits until all workers are there and nothing goes on any more.
fn settle(server: &Server, workers: u32) -> io::Result<()> {
    let deadline = Instant::now() + SETTLE_PATIENCE;
    loop {
        let members = process_tree::pids(server.pid())?.len();
        let cpu_before = process_tree::cpu_time(server.pid())?;
        server::pause(SETTLE_WINDOW);
        let cpu = process_tree::cpu_time(server.pid())?.saturating_sub(cpu_before);
        if members > workers as usize && cpu < SETTLED_CPU {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(io::Error::other(format!(
                "{members} processes with {workers} workers wanted, busy for {cpu:?} of {SETTLE_WINDOW:?}; output:\n{}",
                server.output()
            )));
        }
    }
}

/// An error for a run in which anything failed or nothing was answered.
fn sound(outcome: &Outcome, persistence: Persistence, server: &Server) -> io::Result<()> {
    let may_close = persistence == Persistence::ClosedEachTime;
    if outcome.failures.total() == 0 && outcome.completed > 0 && (may_close || outcome.announced_closes == 0)
    {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{} answered, {} closes announced, failures: {}; output of the server:\n{}",
        outcome.completed,
        outcome.announced_closes,
        outcome.failures,
        server.output()
    )))
}

fn load_figures(outcome: &mut Outcome, cpu: Duration) -> BTreeMap<Figure, f64> {
    let completed = as_f64(outcome.completed);
    let mut latency_ms = |share| as_f64(percentile(&mut outcome.latencies_ns, share)) / 1e6;
    BTreeMap::from([
        (Figure::CpuMicrosecondsPerRequest, cpu.as_secs_f64() * 1e6 / completed),
        (Figure::LatencyP50Milliseconds, latency_ms(0.50)),
        (Figure::LatencyP99Milliseconds, latency_ms(0.99)),
        (Figure::RequestsPerSecond, completed / outcome.elapsed.as_secs_f64()),
    ])
}

fn mebibytes(bytes: u64) -> f64 {
    as_f64(bytes) / (1024.0 * 1024.0)
}

#[expect(clippy::cast_precision_loss, reason = "counts and bytes stay far below 2^52")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

/// What the machine did before a measurement.
struct Account {
    began: Instant,
    machine: MachineTime,
    own: Duration,
}

/// Other work during a measurement.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Noise {
    /// Processors that others kept busy.
    pub(crate) foreign_processors: f64,
    /// Processors that the host gave to others.
    pub(crate) stolen_processors: f64,
}

impl Account {
    fn open() -> io::Result<Self> {
        Ok(Account { began: Instant::now(), machine: MachineTime::now()?, own: own_cpu()? })
    }

    /// `server` is what the server used meanwhile.
    fn close(self, server: Duration) -> io::Result<Noise> {
        let seconds = self.began.elapsed().as_secs_f64();
        let now = MachineTime::now()?;
        let busy = now.busy.saturating_sub(self.machine.busy);
        let ours = server + own_cpu()?.saturating_sub(self.own);
        Ok(Noise {
            foreign_processors: busy.saturating_sub(ours).as_secs_f64() / seconds,
            stolen_processors: now.stolen.saturating_sub(self.machine.stolen).as_secs_f64() / seconds,
        })
    }
}

fn own_cpu() -> io::Result<Duration> {
    process_tree::own_cpu_time(std::process::id().cast_signed())
}
