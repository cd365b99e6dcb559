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
/// Attacked and harmless by turns until one outcome leads by so many pairs, so that one hiccup of a shared machine decides nothing.
const LEAD_THAT_DECIDES: usize = 2;
/// Then the more frequent one counts.
const MOST_PAIRS: usize = 5;
const ROUND: Duration = Duration::from_millis(600);
/// How much worse than twice the harmless p99 is still noise: the time slice that a scheduler with more to run than cores gives away.
const SLACK: Duration = Duration::from_millis(5);
/// Below this a p99 would be one of the ten slowest.
const FEWEST_ANSWERS: u64 = 200;
const POLITE_CLIENTS: usize = 8;
const THINK_TIME: Duration = Duration::from_millis(5);
/// Memory that buffers, their spares and the allocator's fragments may take beyond what an attack states, in KiB.
const ALLOWANCE_KIB: u64 = 8 * 1024;
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

/// Begins an attack on the server at this address.
pub(super) type Begin = fn(SocketAddr) -> Box<dyn Attacker>;

/// A test of one attack.
pub(super) struct Attack {
    /// In plain words.
    pub(super) name: &'static str,
    /// Begins it.
    pub(super) begin: Begin,
    /// Settings of the server.
    pub(super) arguments: &'static [&'static str],
    /// The reasons of `supervise_http_requests_rejected_total`, each of which must grow.
    pub(super) rejected_for: &'static [&'static str],
    /// What its connections may hold of the workers' memory together, in KiB.
    pub(super) held_kib: u64,
}

/// What one round saw.
struct Round {
    p99: Duration,
    core_share: f64,
    memory_kib: u64,
    polite: Report,
}

/// A round beside the attack, and one beside a harmless load that took as much processor time.
struct Pair {
    attacked: Round,
    harmless: Round,
}

impl Pair {
    fn holds(&self) -> bool {
        self.attacked.p99 <= self.harmless.p99 * 2 + patient(SLACK)
    }
}

impl Attack {
    /// On a server with usual settings, of whose memory it holds nothing, and which counts none of it.
    pub(super) fn new(name: &'static str, begin: Begin) -> Self {
        Self { name, begin, arguments: &[], rejected_for: &[], held_kib: 0 }
    }

    /// Plays it.
    ///
    /// # Panics
    /// When the server does not stand it.
    #[track_caller]
    pub(super) fn is_withstood(&self) {
        let machine = Machine::alone();
        let Some(server) = self.serve(&machine) else { return };
        // Warm, so that what every load makes a worker keep is no growth.
        let _ = round(&server, Harmless::begin, MOST_OF_A_CORE, || true);
        let memory_before_kib = memory_kib(&server);
        let before: Vec<f64> = self.rejected_for.iter().map(|reason| rejected(&server, reason)).collect();
        let uncounted = || {
            let reasons = self.rejected_for.iter().zip(&before);
            reasons.filter(|(reason, before)| rejected(&server, reason) <= **before).count()
        };
        let pairs = self.pairs(&server, || uncounted() == 0);
        let memory_kib = pairs.iter().map(|pair| pair.attacked.memory_kib).max().unwrap_or_default();
        let growth_kib = memory_kib.saturating_sub(memory_before_kib);
        let most_kib = ALLOWANCE_KIB + self.held_kib;
        for Pair { attacked, harmless } in &pairs {
            println!(
                "{}: p99 {:.2?} beside it, {:.2?} beside a harmless load at {:.3} of a core; memory grew by at most {growth_kib} of \
                 {most_kib} KiB",
                self.name, attacked.p99, harmless.p99, attacked.core_share
            );
            attacked.polite.assert_nothing_lost(FEWEST_ANSWERS);
            harmless.polite.assert_nothing_lost(FEWEST_ANSWERS);
        }
        assert!(growth_kib <= most_kib, "{}: memory grew by {growth_kib} KiB", self.name);
        let held = pairs.iter().filter(|pair| pair.holds()).count();
        assert!(2 * held > pairs.len(), "{}: others waited more than twice as long", self.name);
        assert_eq!(server.restarts(""), 0.0, "{}: no worker dies of it", self.name);
        server.stop();
    }

    fn serve(&self, machine: &Machine) -> Option<Server> {
        let python = Python::default_one()?;
        let usual = ["--workers", "1", "--access-log=false"];
        let mut server = machine.server().guest(Guest::ATTACKED, &python).arguments(usual);
        for argument in self.arguments {
            server = server.arguments([argument]);
        }
        Some(server.arguments(["app:app"]).start())
    }

    /// Attacked and harmless rounds until it is clear which way most go. The first goes on until all is counted that must be.
    fn pairs(&self, server: &Server, is_counted: impl Fn() -> bool) -> Vec<Pair> {
        let mut pairs: Vec<Pair> = Vec::new();
        for number in 1..=MOST_PAIRS {
            let attacked = round(server, self.begin, MOST_OF_A_CORE, || number > 1 || is_counted());
            let harmless = round(server, Harmless::begin, attacked.core_share, || true);
            pairs.push(Pair { attacked, harmless });
            let held = pairs.iter().filter(|pair| pair.holds()).count();
            if held.abs_diff(pairs.len() - held) >= LEAD_THAT_DECIDES {
                break;
            }
        }
        pairs
    }
}

/// Times polite clients beside an attacker that takes so much of a core, for as long as a round takes and until `is_enough`.
fn round(server: &Server, attacker: Begin, core_share: f64, is_enough: impl Fn() -> bool) -> Round {
    let (address, has_begun, stop) = (server.address(), AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let attack = scope.spawn(|| {
            let mut attacker = attacker(address);
            has_begun.store(true, Ordering::Relaxed);
            play(attacker.as_mut(), core_share, &stop)
        });
        wait_until("the attack to begin", LONGEST_ATTACK, || {
            has_begun.load(Ordering::Relaxed) || attack.is_finished()
        });
        let mut polite = Load::new(address);
        polite.concurrency = POLITE_CLIENTS;
        polite.think_time = THINK_TIME;
        let polite = polite.start();
        let mut memory_peak_kib = 0;
        observe_for(ROUND, || memory_peak_kib = memory_peak_kib.max(memory_kib(server)));
        wait_until("all to be counted that was refused", LONGEST_ATTACK / 2, || {
            memory_peak_kib = memory_peak_kib.max(memory_kib(server));
            is_enough()
        });
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

/// Of all workers.
fn memory_kib(server: &Server) -> u64 {
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
