//! Every order of events of a small fleet: two workers, and after each state everything that can happen next, commands
//! included. Each step is judged; from the states at the end the fleet must find its way to rest.

#![expect(clippy::disallowed_types, reason = "the set of seen states is asked, never iterated")]

mod judge;

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
};

use judge::{Judge, Tally};
use supervisor_fleet::{
    Event, EventKind, Exit, FailurePhase, Fleet, Moment, Phase, PoolSettings, RecyclingSettings, StateName,
    Urgency, WorkerId,
};

/// So many events after each beginning.
const DEPTH: usize = 6;
/// Fewer would mean that the enumeration lost its events.
const AT_LEAST_STATES: usize = 50_000;
/// One in so many of the last states is followed until the fleet rests.
const REST_EVERY: usize = 25;

#[test]
fn every_order_from_a_cold_start() {
    let explored = explore(Node::new());
    println!("cold start: {explored:?}");
    assert!(explored.states >= AT_LEAST_STATES, "only {} states", explored.states);
}

#[test]
fn every_order_from_a_serving_fleet() {
    let mut node = Node::new();
    for worker in [1, 2] {
        node.happens(EventKind::Ready { worker: WorkerId(worker) });
    }
    node.now += 5_000;
    let explored = explore(node);
    println!("serving fleet: {explored:?}");
    assert!(explored.states >= AT_LEAST_STATES, "only {} states", explored.states);
}

#[test]
fn every_order_from_the_middle_of_a_reload() {
    let mut node = Node::new();
    for worker in [1, 2] {
        node.happens(EventKind::Ready { worker: WorkerId(worker) });
    }
    node.now += 5_000;
    node.happens(EventKind::Reload { settings: settings() });
    node.happens(EventKind::Ready { worker: WorkerId(3) });
    let explored = explore(node);
    println!("middle of a reload: {explored:?}");
    assert!(explored.states >= AT_LEAST_STATES, "only {} states", explored.states);
}

/// Between a stop and its begin, while workers die, reload and are scaled.
#[test]
fn every_order_of_a_fleet_that_leaves() {
    let mut node = Node::with(PoolSettings { shutdown_delay_ms: 3_000, ..settings() });
    for worker in [1, 2] {
        node.happens(EventKind::Ready { worker: WorkerId(worker) });
    }
    node.now += 5_000;
    node.happens(EventKind::Reload { settings: node.settings.clone() });
    node.happens(EventKind::Stop { urgency: Urgency::Graceful });
    assert_eq!(node.fleet.phase(), Phase::Leaving);
    let explored = explore(node);
    println!("a fleet that leaves: {explored:?}");
    assert!(explored.states >= AT_LEAST_STATES, "only {} states", explored.states);
}

fn settings() -> PoolSettings {
    PoolSettings {
        workers: 2,
        max_surge: 1,
        boot_timeout_ms: 10_000,
        heartbeat_timeout_ms: 6_000,
        graceful_timeout_ms: 8_000,
        quick_timeout_ms: 1_000,
        abort_grace_ms: 500,
        shutdown_delay_ms: 0,
        recycling: RecyclingSettings {
            max_memory_bytes: Some(1),
            max_memory_hard_bytes: Some(TOO_MANY_BYTES),
            ..RecyclingSettings::default()
        },
    }
}

/// A state, and how much may still happen besides the common fates of workers and the passing of time: so many commands
/// of each kind, and so many of the odder things.
#[derive(Clone)]
struct Node {
    fleet: Fleet,
    settings: PoolSettings,
    now: u64,
    reloads: u8,
    scalings: u8,
    stops: u8,
    oddities: u8,
    judge: Judge,
    path: Vec<EventKind>,
}

#[derive(Debug, Default)]
struct Explored {
    states: usize,
    steps: usize,
    brought_to_rest: usize,
}

fn explore(beginning: Node) -> Explored {
    let mut seen = HashSet::new();
    let mut explored = Explored::default();
    let mut frontier = vec![beginning];
    for depth in 1..=DEPTH {
        let mut next = Vec::new();
        for node in &frontier {
            for event in node.possible() {
                let mut child = node.clone();
                child.happens(event);
                explored.steps += 1;
                if !seen.insert(child.key()) {
                    continue;
                }
                if depth < DEPTH {
                    next.push(child);
                } else if seen.len() % REST_EVERY == 0 {
                    child.come_to_rest();
                    explored.brought_to_rest += 1;
                }
            }
        }
        frontier = next;
    }
    explored.states = seen.len();
    explored
}

/// A worker that holds so much is not waited for.
const TOO_MANY_BYTES: u64 = 1_000;

/// What happens to every worker sooner or later.
fn common(worker: WorkerId, state: StateName) -> Vec<EventKind> {
    match state {
        StateName::Starting => vec![
            EventKind::Ready { worker },
            EventKind::Failed { worker, phase: FailurePhase::Load },
            EventKind::Exited { worker, exit: Exit::Code(3) },
        ],
        StateName::Ready => vec![EventKind::Exited { worker, exit: Exit::Signal(9) }],
        StateName::Draining | StateName::Aborting | StateName::Killed => {
            vec![EventKind::Exited { worker, exit: Exit::Code(0) }]
        }
    }
}

/// What happens to few.
fn odd(worker: WorkerId, state: StateName) -> Vec<EventKind> {
    match state {
        StateName::Starting => vec![EventKind::SpawnFailed { worker }, EventKind::ChannelBroken { worker }],
        StateName::Ready => vec![
            EventKind::MemoryMeasured { worker, bytes: TOO_MANY_BYTES },
            EventKind::Draining { worker },
            EventKind::ReplaceMe { worker },
            EventKind::ChannelBroken { worker },
        ],
        // Said before the order came.
        StateName::Draining | StateName::Aborting | StateName::Killed => {
            vec![EventKind::MemoryMeasured { worker, bytes: TOO_MANY_BYTES }, EventKind::ReplaceMe { worker }]
        }
    }
}

impl Node {
    fn new() -> Self {
        Self::with(settings())
    }

    fn with(settings: PoolSettings) -> Self {
        let mut node = Self {
            fleet: Fleet::new(settings.clone(), 1),
            settings,
            now: 0,
            reloads: 2,
            scalings: 1,
            stops: 2,
            oddities: 1,
            judge: Judge::default(),
            path: Vec::new(),
        };
        node.happens(EventKind::Start);
        node
    }

    fn key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.fleet, self.now, self.reloads, self.scalings, self.stops, self.oddities).hash(&mut hasher);
        hasher.finish()
    }

    fn possible(&self) -> Vec<EventKind> {
        let mut events: Vec<_> = self.fleet.workers().flat_map(|view| common(view.id, view.state)).collect();
        if self.oddities > 0 {
            events.extend(self.fleet.workers().flat_map(|view| odd(view.id, view.state)));
        }
        if self.fleet.next_deadline().is_some() {
            events.push(EventKind::Tick);
        }
        if self.reloads > 0 {
            events.push(EventKind::Reload { settings: self.settings.clone() });
        }
        if self.scalings > 0 {
            events.extend([EventKind::Scale { by: 1 }, EventKind::Scale { by: -1 }]);
        }
        if self.stops > 0 {
            events.extend([Urgency::Graceful, Urgency::Quick].map(|urgency| EventKind::Stop { urgency }));
        }
        events
    }

    fn happens(&mut self, kind: EventKind) {
        match kind {
            EventKind::Tick => {
                self.now = self.fleet.next_deadline().map_or(self.now, |due| due.0.max(self.now));
            }
            EventKind::Reload { .. } => self.reloads = self.reloads.saturating_sub(1),
            EventKind::Scale { .. } => self.scalings = self.scalings.saturating_sub(1),
            EventKind::Stop { .. } => self.stops = self.stops.saturating_sub(1),
            EventKind::Start
            | EventKind::Ready { .. }
            | EventKind::Failed { .. }
            | EventKind::Exited { .. } => {}
            EventKind::Hello { .. }
            | EventKind::Loaded { .. }
            | EventKind::SpawnFailed { .. }
            | EventKind::Heartbeat { .. }
            | EventKind::Draining { .. }
            | EventKind::ReplaceMe { .. }
            | EventKind::MemoryMeasured { .. }
            | EventKind::ChannelBroken { .. } => self.oddities = self.oddities.saturating_sub(1),
        }
        let before = self.fleet.clone();
        let actions = self.fleet.step(Event { at: Moment(self.now), kind: kind.clone() });
        let verdict = self.judge.judge(&before, &kind, &actions, &self.fleet);
        self.judge.tally = Tally::default();
        self.path.push(kind);
        if let Err(broken) = verdict {
            panic!("{:#?}\nthe last one orders {actions:?}\n{broken}", self.path);
        }
    }

    /// From now on all goes well: who starts becomes ready, who leaves is gone, time passes.
    fn come_to_rest(&mut self) {
        for _ in 0..200 {
            if self.is_at_rest() {
                return;
            }
            let views: Vec<_> = self.fleet.workers().collect();
            let mut moved = false;
            for view in views {
                let worker = view.id;
                match view.state {
                    StateName::Starting => self.happens(EventKind::Ready { worker }),
                    StateName::Ready => {
                        self.happens(EventKind::Heartbeat { worker, requests: 0 });
                        continue;
                    }
                    StateName::Draining | StateName::Aborting | StateName::Killed => {
                        self.happens(EventKind::Exited { worker, exit: Exit::Code(0) });
                    }
                }
                moved = true;
            }
            if !moved && !self.is_at_rest() {
                self.happens(EventKind::Tick);
            }
        }
        panic!("{:#?}\nno rest: {:#?}", self.path, self.fleet);
    }

    fn is_at_rest(&self) -> bool {
        let fleet = &self.fleet;
        match fleet.phase() {
            Phase::Finished => true,
            Phase::Idle | Phase::Leaving | Phase::Stopping => false,
            Phase::Running => {
                let serving = fleet
                    .workers()
                    .filter(|view| view.state == StateName::Ready && view.generation == fleet.generation());
                serving.count() == fleet.wanted() as usize
                    && fleet.workers().count() == fleet.wanted() as usize
                    && fleet.reloading().is_none()
                    && fleet.slots_in_backoff() == 0
            }
        }
    }
}
