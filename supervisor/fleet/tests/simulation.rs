//! A million steps of seeded misfortune: a fake operating system, a careless operator and a clock that jumps, judged after
//! every step; then the weather clears, and the fleet must settle, reload without a gap and stop.
//!
//! `SUPERVISE_SIMULATION_SEED=n` replays one history, `SUPERVISE_SIMULATION_STEPS=n` makes the run longer or shorter.

#![expect(clippy::disallowed_methods, reason = "the seed and the length can be given in the environment")]

mod fake_os;
mod judge;

use std::{
    collections::{BTreeMap, VecDeque},
    env,
};

use fake_os::{FakeOs, Weather, dice::Dice};
use judge::{Judge, Tally};
use supervisor_fleet::{
    Action, Event, EventKind, Fleet, Moment, Phase, PoolSettings, RecyclingSettings, StateName, Urgency,
    transcript,
};

const STEPS: u64 = 1_000_000;
/// Longer than any wait of the fleet and any fate that a process had before the weather cleared, one after the other.
const CALM_MS: u64 = 300_000;
/// Longer than the longest delay, the longest grace and all kills together.
const STOP_MS: u64 = 90_000;

#[test]
fn a_million_steps_of_misfortune_break_no_promise() {
    match number("SUPERVISE_SIMULATION_SEED") {
        Some(seed) => println!("{:#?}", replay(seed)),
        None => {
            let total = run(number("SUPERVISE_SIMULATION_STEPS").unwrap_or(STEPS));
            println!("{total:#?}");
            total.assert_all_was_seen();
        }
    }
}

/// A bug report is worth something only if it shows what happened: a recorded run, read from its text, orders the same again.
#[test]
fn recorded_runs_replay_to_the_same_orders() {
    let mut lines = 0;
    for seed in 1..=40 {
        let mut history = History::new(seed);
        history.recording = Some(transcript::opening(&history.settings, seed));
        history.live().unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        let recorded = history.recording.unwrap_or_default();
        lines += recorded.lines().count();
        let played = transcript::play(&recorded).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let differing = recorded.lines().zip(played.lines()).find(|(was, is)| was != is);
        assert!(recorded == played, "seed {seed}: recorded and played differ in {differing:?}");
    }
    assert!(lines > 10_000, "too little happened in all runs together: {lines} lines");
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

fn run(steps: u64) -> Total {
    let mut total = Total::default();
    for seed in 1.. {
        total.add(&replay(seed));
        if total.steps >= steps {
            break;
        }
    }
    total
}

/// All histories together.
#[derive(Debug, Default)]
struct Total {
    histories: u64,
    steps: u64,
    seen: BTreeMap<&'static str, u64>,
}

impl Total {
    fn add(&mut self, tally: &Tally) {
        self.histories += 1;
        self.steps += tally.steps;
        for (&what, times) in &tally.seen {
            *self.seen.entry(what).or_default() += times;
        }
    }

    /// A long run meets everything more than once.
    fn assert_all_was_seen(&self) {
        let expected = [
            "spawn",
            "drain",
            "dump stack",
            "abort",
            "kill",
            "retire",
            "restarted",
            "backed off",
            "all ready",
            "unresponsive",
            "requested",
            "max requests",
            "max lifetime",
            "max memory",
            "over memory",
            "boot timed out",
            "drain timed out",
            "reload started",
            "reload done",
            "reload failed",
            "reload superseded",
            "scaled",
            "leaving",
            "stopping",
            "unkillable",
            "stalled",
            "stopped",
            "first boot failed",
        ];
        for what in expected {
            assert!(self.seen.get(what).is_some_and(|&times| times > 1), "never seen: {what}; {self:?}");
        }
    }
}

fn replay(seed: u64) -> Tally {
    let mut history = History::new(seed);
    if let Err(broken) = history.live() {
        let trace: String = history.trace.iter().map(|line| format!("{line:?}\n")).collect();
        panic!(
            "{trace}{broken}\nreplay: SUPERVISE_SIMULATION_SEED={seed} cargo test -p supervisor-fleet --test simulation"
        );
    }
    history.judge.tally
}

/// One run of the program from its start to its end.
struct History {
    now: u64,
    fleet: Fleet,
    settings: PoolSettings,
    os: FakeOs,
    dice: Dice,
    judge: Judge,
    /// All steps in the language of transcripts, if somebody wants them.
    recording: Option<String>,
    /// The last steps, for whoever has to understand a failure.
    trace: VecDeque<(u64, EventKind, Vec<Action>)>,
}

const TRACE: usize = 80;

impl History {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let settings = some_settings(&mut dice);
        Self {
            now: dice.between(0, 1_000_000),
            fleet: Fleet::new(settings.clone(), seed),
            settings,
            os: FakeOs::new(seed),
            dice,
            judge: Judge::default(),
            recording: None,
            trace: VecDeque::new(),
        }
    }

    fn live(&mut self) -> Result<(), String> {
        self.step(EventKind::Start)?;
        let storm_ms = self.dice.between(10_000, 600_000);
        self.pass(storm_ms, Operator::Busy)?;
        self.os.weather = Weather::Fair;
        // Workers that are replaced for their age would never come to rest.
        self.settings.recycling = RecyclingSettings::default();
        self.step(EventKind::Reload { settings: self.settings.clone() })?;
        self.pass(CALM_MS, Operator::Away)?;
        if self.fleet.phase() == Phase::Running {
            self.must_be_settled()?;
            self.reload_without_a_gap()?;
        }
        self.stop_at_last()
    }

    /// Lets so much time pass, and all that happens in it.
    fn pass(&mut self, duration_ms: u64, operator: Operator) -> Result<(), String> {
        let end = self.now + duration_ms;
        let mut next_command = self.now + self.dice.between(0, 20_000);
        while self.now < end && !matches!(self.fleet.phase(), Phase::Finished) {
            let due =
                [self.os.next_deed_at(), self.fleet.next_deadline().map(|due| due.0), Some(next_command)];
            let next = due.into_iter().flatten().min().unwrap_or(end).min(end);
            self.now = self.now.max(next);
            if operator == Operator::Busy && self.dice.happens(1) {
                // The supervisor stands still for a while.
                self.now += self.dice.between(1, 90_000);
            }
            // As the shell does it: all that can be read, then commands, then deadlines.
            while let Some(kind) = self.os.next_event(self.now) {
                self.step(kind)?;
            }
            if next_command <= self.now {
                next_command = self.now + self.dice.between(1, 20_000);
                if operator == Operator::Busy {
                    self.command()?;
                }
            }
            if self.fleet.next_deadline().is_some_and(|due| due.0 <= self.now) {
                self.step(EventKind::Tick)?;
            }
        }
        Ok(())
    }

    /// One whim of the operator.
    fn command(&mut self) -> Result<(), String> {
        match self.dice.between(0, 99) {
            0..=44 => {
                if self.dice.happens(300) {
                    self.settings = some_settings(&mut self.dice);
                }
                let times = if self.dice.happens(150) { self.dice.between(2, 20) } else { 1 };
                for _ in 0..times {
                    self.step(EventKind::Reload { settings: self.settings.clone() })?;
                }
                Ok(())
            }
            45..=89 => {
                let by = self.dice.pick(&[-3, -1, -1, 1, 1, 2]);
                self.step(EventKind::Scale { by })
            }
            90..=97 => self.step(EventKind::Tick),
            _ => {
                let urgency = self.dice.pick(&[Urgency::Graceful, Urgency::Quick, Urgency::Now]);
                self.step(EventKind::Stop { urgency })
            }
        }
    }

    fn step(&mut self, kind: EventKind) -> Result<(), String> {
        let before = self.fleet.clone();
        let actions = self.fleet.step(Event { at: Moment(self.now), kind: kind.clone() });
        if let Some(recording) = &mut self.recording {
            let at = Moment(self.now);
            *recording += &transcript::event_line(&Event { at, kind: kind.clone() });
            actions.iter().for_each(|order| *recording += &transcript::order_line(at, order));
        }
        for action in &actions {
            self.os.obey(self.now, action);
        }
        let verdict = self.judge.judge(&before, &kind, &actions, &self.fleet);
        if self.trace.len() == TRACE {
            self.trace.pop_front();
        }
        let ticked = kind == EventKind::Tick;
        self.trace.push_back((self.now, kind, actions));
        verdict?;
        if ticked && self.fleet.next_deadline().is_some_and(|due| due.0 <= self.now) {
            return Err("after a tick the next deadline has passed already: the shell would spin".into());
        }
        Ok(())
    }

    fn must_be_settled(&self) -> Result<(), String> {
        let fleet = &self.fleet;
        let serving = fleet
            .workers()
            .filter(|worker| worker.state == StateName::Ready && worker.generation == fleet.generation())
            .count();
        let living = fleet.workers().count();
        let wanted = fleet.wanted() as usize;
        let settled = serving == wanted && living == wanted && self.os.living() == wanted;
        if settled && fleet.slots_in_backoff() == 0 && fleet.reloading().is_none() {
            return Ok(());
        }
        Err(format!("the weather is fair and the fleet has not settled: {fleet:#?}"))
    }

    fn reload_without_a_gap(&mut self) -> Result<(), String> {
        let before = self.fleet.generation();
        self.judge.floor = self.fleet.ready().min(self.settings.workers);
        self.step(EventKind::Reload { settings: self.settings.clone() })?;
        self.pass(CALM_MS, Operator::Away)?;
        self.judge.floor = 0;
        if self.fleet.generation() == before {
            return Err("a reload in fair weather did not come to its end".into());
        }
        self.must_be_settled()
    }

    fn stop_at_last(&mut self) -> Result<(), String> {
        let urgency = self.dice.pick(&[Urgency::Graceful, Urgency::Quick, Urgency::Now]);
        if self.fleet.phase() == Phase::Running {
            self.step(EventKind::Stop { urgency })?;
        }
        self.pass(STOP_MS, Operator::Away)?;
        if self.fleet.phase() == Phase::Finished {
            return Ok(());
        }
        Err("the program was told to stop and did not".into())
    }
}

/// Whether somebody sends commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Busy,
    Away,
}

fn some_settings(dice: &mut Dice) -> PoolSettings {
    PoolSettings {
        workers: u32::try_from(dice.between(1, 5)).unwrap_or(1),
        max_surge: u32::try_from(dice.between(1, 3)).unwrap_or(1),
        boot_timeout_ms: dice.between(2_000, 10_000),
        heartbeat_timeout_ms: dice.between(3_000, 10_000),
        graceful_timeout_ms: dice.between(1_000, 20_000),
        quick_timeout_ms: dice.between(100, 2_000),
        abort_grace_ms: dice.between(10, 1_000),
        shutdown_delay_ms: dice.pick(&[0, 0, 1, 500, 30_000]),
        recycling: some_recycling(dice),
    }
}

/// Half of the operators want none.
fn some_recycling(dice: &mut Dice) -> RecyclingSettings {
    if dice.happens(500) {
        return RecyclingSettings::default();
    }
    RecyclingSettings {
        max_requests: dice.happens(500).then(|| dice.between(100, 10_000)),
        max_requests_jitter: dice.between(0, 1_000),
        max_lifetime_ms: dice.happens(500).then(|| dice.between(1_000, 100_000)),
        max_lifetime_jitter_ms: dice.between(0, 10_000),
        max_memory_bytes: dice.happens(500).then_some(fake_os::LARGE_BYTES),
        max_memory_hard_bytes: dice.happens(500).then_some(fake_os::HUGE_BYTES),
    }
}
