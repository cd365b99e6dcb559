//! How an attack is judged: polite clients are timed beside it and beside a harmless load that costs its sender as much processor
//! time, in turn, while the workers' memory is watched. Knows nothing of what an attacker does.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use harness::{
    Guest, Machine, Python, Server, http,
    load::{Load, Report},
    observe_for, patient, processes, wait_until,
};
use nix::{
    sys::resource::{Resource, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};

/// Of one core, that an attacker takes at most: enough to fill a worker with harmless requests for a good part, and too little to
/// take the processor away from worker and polite clients, which would be an attack on the machine.
const MOST_OF_A_CORE: f64 = 0.2;
/// Harmless and attacked by turns; the middle one counts, so that one hiccup of a shared machine does not.
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_millis(800);
/// How much worse than twice the harmless p99 is still noise: the time slice that a scheduler with more to run than cores gives away.
pub(super) const SLACK: Duration = Duration::from_millis(5);
/// Below this a p99 would be one of the ten slowest.
const FEWEST_ANSWERS: u64 = 200;
const POLITE_CLIENTS: usize = 8;
const THINK_TIME: Duration = Duration::from_millis(5);
/// An attacker that was not told to stop, because the test failed, ends after this.
const LONGEST_ATTACK: Duration = Duration::from_secs(30);

/// What an attacker has to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// The same again, as fast as its share of the processor allows.
    Busy,
    /// Nothing for a moment: it lets time pass for the server.
    Rest,
}

/// One way to wear a server out. What it holds is dropped at the end of a round.
pub(super) trait Attacker {
    /// Does a little of it.
    fn step(&mut self) -> Pace;
}

/// A test of one attack.
pub(super) struct Attack {
    /// In plain words.
    pub(super) name: &'static str,
    /// Settings of the server.
    pub(super) arguments: &'static [&'static str],
    /// Begins the attack.
    pub(super) attacker: fn(SocketAddr) -> Box<dyn Attacker>,
    /// The reasons of `supervise_http_requests_rejected_total`, each of which must grow.
    pub(super) rejected_for: &'static [&'static str],
    /// What the workers' memory may grow by, in KiB.
    pub(super) growth_kib: u64,
    /// How much worse than twice the harmless p99 it may be: [`SLACK`] where the promise holds.
    pub(super) slack: Duration,
}

/// What one round saw.
struct Round {
    p99: Duration,
    core_share: f64,
    memory_kib: u64,
    polite: Report,
}

impl Attack {
    /// Plays it.
    ///
    /// # Panics
    /// When the server does not stand it.
    #[track_caller]
    pub(super) fn is_withstood(&self) {
        let machine = Machine::alone();
        let Some(python) = Python::default_one() else { return };
        let mut server = machine.server().guest(Guest::ATTACKED, &python).arguments([
            "--workers",
            "1",
            "--access-log=false",
        ]);
        for argument in self.arguments {
            server = server.arguments([argument]);
        }
        let server = server.arguments(["app:app"]).start();
        // Warm, so that what every load makes a worker keep is no growth.
        let _ = round(&server, Harmless::begin, MOST_OF_A_CORE);
        let memory_before_kib = memory_kib(&server);
        let counted_before: Vec<f64> =
            self.rejected_for.iter().map(|reason| rejected(&server, reason)).collect();
        let (mut harmless, mut attacked) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let attack = round(&server, self.attacker, MOST_OF_A_CORE);
            harmless.push(round(&server, Harmless::begin, attack.core_share));
            attacked.push(attack);
        }
        let memory_kib = attacked.iter().map(|round| round.memory_kib).max().unwrap_or_default();
        let growth_kib = memory_kib.saturating_sub(memory_before_kib);
        let (usual, under_attack) = (middle_p99(&harmless), middle_p99(&attacked));
        let core_share = attacked.iter().map(|round| round.core_share).sum::<f64>() / ROUNDS as f64;
        println!(
            "{}: p99 {under_attack:.2?} beside it, {usual:.2?} beside a harmless load at {core_share:.3} of a core; memory \
             {memory_before_kib} KiB before, {memory_kib} KiB at most",
            self.name
        );
        for Round { polite, .. } in harmless.iter().chain(&attacked) {
            polite.assert_nothing_lost(FEWEST_ANSWERS);
        }
        assert!(growth_kib <= self.growth_kib, "{}: memory grew by {growth_kib} KiB", self.name);
        for (reason, before) in self.rejected_for.iter().zip(counted_before) {
            let counted = rejected(&server, reason) - before;
            println!("{}: {reason} counted {counted} times", self.name);
            assert!(counted >= 1.0, "{}: nothing was counted as {reason}", self.name);
        }
        assert!(
            under_attack <= usual * 2 + patient(self.slack),
            "{}: p99 {under_attack:.2?}, and {usual:.2?} beside a harmless load",
            self.name
        );
        assert_eq!(server.restarts(""), 0.0, "{}: no worker dies of it", self.name);
        server.stop();
    }
}

/// Times polite clients beside an attacker that takes so much of a core.
fn round(server: &Server, attacker: fn(SocketAddr) -> Box<dyn Attacker>, core_share: f64) -> Round {
    let (address, stop) = (server.address(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let attack = scope.spawn(|| play(attacker(address).as_mut(), core_share, &stop));
        let mut polite = Load::new(address);
        polite.concurrency = POLITE_CLIENTS;
        polite.think_time = THINK_TIME;
        let polite = polite.start();
        let mut memory_peak_kib = 0;
        observe_for(ROUND, || memory_peak_kib = memory_peak_kib.max(memory_kib(server)));
        let mut latencies = polite.take_latencies();
        let polite = polite.stop();
        stop.store(true, Ordering::Relaxed);
        let core_share = attack.join().expect("an attacker does not panic");
        latencies.sort_unstable();
        // What the attacker held is closed before the next round, which shall not pay for this one.
        wait_until("the connections to be closed", LONGEST_ATTACK, || {
            server.metrics().sum("supervise_connections", &[]) == 0.0
        });
        let p99 = latencies.get(latencies.len() * 99 / 100).copied().unwrap_or(Duration::MAX / 4);
        Round { p99, core_share, memory_kib: memory_peak_kib, polite }
    })
}

/// Lets an attacker go on until it shall stop; gives the part of a core that it took.
fn play(attacker: &mut dyn Attacker, core_share: f64, stop: &AtomicBool) -> f64 {
    let (begun, cpu_before) = (Instant::now(), thread_cpu_time());
    let share = || (thread_cpu_time() - cpu_before).as_secs_f64() / begun.elapsed().as_secs_f64();
    while !stop.load(Ordering::Relaxed) && begun.elapsed() < LONGEST_ATTACK {
        let pause = match attacker.step() {
            Pace::Busy => Duration::ZERO,
            Pace::Rest => Duration::from_millis(20),
        };
        let rest_begun = Instant::now();
        wait_until("the attacker's next turn", LONGEST_ATTACK, || {
            stop.load(Ordering::Relaxed) || (rest_begun.elapsed() >= pause && share() <= core_share)
        });
    }
    share()
}

fn thread_cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a thread has a clock").into()
}

fn middle_p99(rounds: &[Round]) -> Duration {
    let mut all: Vec<Duration> = rounds.iter().map(|round| round.p99).collect();
    all.sort_unstable();
    all[all.len() / 2]
}

/// Of all workers.
pub(super) fn memory_kib(server: &Server) -> u64 {
    server.workers().iter().filter_map(|worker| processes::proportional_memory_kib(worker.pid)).sum()
}

fn rejected(server: &Server, reason: &str) -> f64 {
    server.metrics().sum("supervise_http_requests_rejected_total", &[("reason", reason)])
}

/// Lets this process, and the servers that it starts, open as many files as the system allows it; gives the number.
pub(super) fn raise_descriptor_limit() -> u64 {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a process has limits");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_or(soft, |()| hard)
}

/// Ordinary requests, one after the other on one connection.
struct Harmless {
    connection: http::Connection,
}

impl Harmless {
    fn begin(address: SocketAddr) -> Box<dyn Attacker> {
        Box::new(Self { connection: http::Connection::open(address).expect("a connection") })
    }
}

impl Attacker for Harmless {
    fn step(&mut self) -> Pace {
        let reply = self.connection.request(&http::Request::get("/")).expect("a reply");
        assert_eq!(reply.status, 200);
        Pace::Busy
    }
}
