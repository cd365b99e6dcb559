//! What a crash loop costs, over many seeds of the jitter: promises in numbers.

use supervisor_fleet::{
    Action, Event, EventKind, Exit, Fleet, Moment, PoolSettings, RecyclingSettings, WorkerId,
};

const MINUTE_MS: u64 = 60_000;

fn settings() -> PoolSettings {
    PoolSettings {
        workers: 2,
        max_surge: 1,
        boot_timeout_ms: 10_000,
        heartbeat_timeout_ms: 3_600_000,
        graceful_timeout_ms: 8_000,
        quick_timeout_ms: 1_000,
        abort_grace_ms: 500,
        shutdown_delay_ms: 0,
        recycling: RecyclingSettings::default(),
    }
}

/// A fleet of two, of which the second worker is the one that dies.
struct Loop {
    fleet: Fleet,
    now: u64,
    victim: WorkerId,
    started: Vec<u64>,
}

impl Loop {
    fn new(seed: u64) -> Self {
        let mut fleet =
            Loop { fleet: Fleet::new(settings(), seed), now: 0, victim: WorkerId(0), started: Vec::new() };
        fleet.happens(EventKind::Start);
        fleet.started = vec![0];
        fleet.happens(EventKind::Ready { worker: WorkerId(1) });
        fleet
    }

    fn happens(&mut self, kind: EventKind) {
        for action in self.fleet.step(Event { at: Moment(self.now), kind }) {
            match action {
                Action::Spawn { worker, .. } => {
                    self.victim = worker;
                    self.started.push(self.now);
                }
                Action::Drain { worker, .. }
                | Action::DumpStack { worker }
                | Action::Abort { worker }
                | Action::Kill { worker } => assert_ne!(worker, WorkerId(1), "the sibling was touched"),
                Action::Retire { .. } | Action::Notice(_) => {}
                Action::Finish { .. } => panic!("the program ended"),
            }
        }
    }

    /// The victim boots, serves for a while, and dies; then time goes on until its replacement is ordered.
    fn one_life(&mut self, boot_ms: u64, served_ms: Option<u64>) -> u64 {
        let worker = self.victim;
        self.now += boot_ms;
        if let Some(served_ms) = served_ms {
            self.happens(EventKind::Ready { worker });
            self.now += served_ms;
        }
        let died = self.now;
        self.happens(EventKind::Exited { worker, exit: Exit::Signal(9) });
        while self.victim == worker {
            self.now = self.fleet.next_deadline().map_or(self.now, |due| due.0);
            self.happens(EventKind::Tick);
        }
        self.now - died
    }
}

#[test]
fn a_worker_that_dies_soon_after_ready_is_started_at_most_twelve_times_in_any_minute() {
    for seed in 0..300 {
        for served_ms in [None, Some(0), Some(300), Some(999)] {
            let mut fleet = Loop::new(seed);
            while fleet.now < 20 * MINUTE_MS {
                fleet.one_life(1, served_ms);
            }
            let starts = &fleet.started;
            assert!(starts.len() > 20, "it is tried for ever: {starts:?}");
            for (first, from) in starts.iter().enumerate() {
                let within = starts[first..].iter().filter(|at| **at - from <= MINUTE_MS).count();
                assert!(within <= 12, "seed {seed}: {within} starts within a minute: {starts:?}");
            }
        }
    }
}

#[test]
fn a_worker_killed_twenty_times_after_two_seconds_of_service_is_replaced_at_once_each_time() {
    for seed in 0..100 {
        let mut fleet = Loop::new(seed);
        for _ in 0..20 {
            assert_eq!(fleet.one_life(100, Some(2_000)), 0, "seed {seed}");
        }
    }
}

#[test]
fn a_mended_worker_is_back_within_the_longest_wait() {
    for seed in 0..100 {
        let mut fleet = Loop::new(seed);
        for _ in 0..40 {
            let waited_ms = fleet.one_life(50, None);
            assert!(waited_ms <= 37_500, "seed {seed}: waited {waited_ms} ms");
        }
    }
}
