//! Every order of events of a small fleet: two workers, and after each state everything that can happen next, commands
//! included. Each step is judged; from each state at the end the fleet must find its way to rest.

#![expect(clippy::disallowed_types, reason = "the set of seen states is asked, never iterated")]

mod judge;

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
};

use judge::{Judge, Tally};
use supervisor_fleet::{
    Event, EventKind, Exit, FailurePhase, Fleet, Moment, Phase, PoolSettings, StateName, Urgency, WorkerId,
};

/// So many events after each beginning.
const DEPTH: usize = 6;
/// Fewer would mean that the enumeration lost its events.
const AT_LEAST_STATES: usize = 100_000;

#[test]
fn every_order_from_a_cold_start() {
    let explored = explore(vec![Node::new()]);
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
    let explored = explore(vec![node]);
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
    let explored = explore(vec![node]);
    println!("middle of a reload: {explored:?}");
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
    }
}

/// A state, and how many commands are left to give: workers have no end of fates, operators must sleep.
#[derive(Clone)]
struct Node {
    fleet: Fleet,
    now: u64,
    reloads: u8,
    scalings: u8,
    stops: u8,
    successors: u8,
    judge: Judge,
    path: Vec<EventKind>,
}

#[derive(Debug, Default)]
struct Explored {
    states: usize,
    steps: usize,
    ends: usize,
}

fn explore(mut frontier: Vec<Node>) -> Explored {
    let mut seen = HashSet::new();
    let mut explored = Explored::default();
    for _ in 0..DEPTH {
        let mut next = Vec::new();
        for node in &frontier {
            for event in node.possible() {
                let mut child = node.clone();
                child.happens(event);
                explored.steps += 1;
                if seen.insert(child.key()) {
                    next.push(child);
                }
            }
        }
        frontier = next;
    }
    explored.states = seen.len();
    for mut node in frontier {
        node.come_to_rest();
        explored.ends += 1;
    }
    explored
}

impl Node {
    fn new() -> Self {
        let mut node = Self {
            fleet: Fleet::new(settings(), 1),
            now: 0,
            reloads: 2,
            scalings: 2,
            stops: 2,
            successors: 1,
            judge: Judge::default(),
            path: Vec::new(),
        };
        node.happens(EventKind::Start);
        node
    }

    fn key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.fleet, self.now, self.reloads, self.scalings, self.stops, self.successors).hash(&mut hasher);
        hasher.finish()
    }

    fn possible(&self) -> Vec<EventKind> {
        let mut events = Vec::new();
        for view in self.fleet.workers() {
            let worker = view.id;
            match view.state {
                StateName::Starting => events.extend([
                    EventKind::Ready { worker },
                    EventKind::Failed { worker, phase: FailurePhase::Load },
                    EventKind::Exited { worker, exit: Exit::Code(3) },
                    EventKind::SpawnFailed { worker },
                ]),
                StateName::Ready => {
                    events.extend([
                        EventKind::Exited { worker, exit: Exit::Signal(9) },
                        EventKind::ChannelBroken { worker },
                        EventKind::Draining { worker },
                        EventKind::Heartbeat { worker },
                    ]);
                    if self.successors > 0 {
                        events.push(EventKind::ReplaceMe { worker });
                    }
                }
                StateName::Draining | StateName::Aborting | StateName::Killed => events.extend([
                    EventKind::Exited { worker, exit: Exit::Code(0) },
                    // Said before the order came.
                    EventKind::Ready { worker },
                ]),
            }
        }
        if self.fleet.next_deadline().is_some() {
            events.push(EventKind::Tick);
        }
        if self.reloads > 0 {
            events.push(EventKind::Reload { settings: settings() });
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
            EventKind::ReplaceMe { .. } => self.successors = self.successors.saturating_sub(1),
            _ => {}
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
                        self.happens(EventKind::Heartbeat { worker });
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
            Phase::Idle | Phase::Stopping => false,
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
