//! Who accepts the next connection: the policy that spreads connections evenly over workers that share a listening socket.
//!
//! The kernel wakes every idle worker for a connection, and the same one tends to win the race. So a worker looks at the scoreboard
//! first and leaves the connection to a sibling that has fewer, if that sibling is free to take it. The favour is bounded: when
//! nobody accepted anything for [`DEFERRAL`], whoever looks next does. Knows numbers and time; never a socket, so that every
//! driver (tokio here, the reactor of a Python worker) obeys the same policy.

use std::{
    sync::atomic::Ordering::{Acquire, Relaxed, Release},
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};
use protocol::scoreboard::Record;

use crate::scoreboard_mapping::Scoreboard;

/// How long a connection is left to one sibling. One tick of the drivers' timers; far above a wake-up (0.05 ms), far below what a
/// client notices.
pub const DEFERRAL: Duration = Duration::from_millis(1);
#[expect(clippy::cast_possible_truncation, reason = "a constant of milliseconds")]
const DEFERRAL_US: u64 = DEFERRAL.as_micros() as u64;
/// Siblings in front beyond which no longer time is waited: a connection is late by this many deferrals at most.
const MAX_RANK: u32 = 4;
/// A sibling whose loop has run without a pause for longer than this has work to do and is not waited for.
const BUSY_US: u32 = 200;
/// Most connections that are accepted in a row after a deferral that was in vain: many enough for a storm of reconnects, few
/// enough that no worker ends up with a visible surplus.
const MAX_ENTITLEMENT: u32 = 8;

/// What to do with a connection that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptTurn {
    /// Accept it.
    Mine,
    /// Leave it to a sibling; call [`FairAccept::deferral_over`] after [`FairAccept::deferral`], unless the listener reports a
    /// new connection before.
    Theirs,
}

/// One worker's view of the others.
#[derive(Debug)]
pub struct FairAccept {
    scoreboard: Scoreboard,
    siblings: Vec<&'static Record>,
    /// State of the scoreboard's count of new acceptors at which the siblings were listed: looking through a thousand records
    /// for each connection would be slow.
    siblings_listed_at: Option<u32>,
    /// Connections that may be accepted without looking at the siblings.
    entitlement: u32,
    next_entitlement: u32,
    deferral: Option<Deferral>,
}

/// A connection that was left to the siblings.
#[derive(Debug, Clone, Copy)]
struct Deferral {
    since_us: u64,
    /// How many of them go first.
    rank: u32,
    /// Sum of all turns at that time: another one means that somebody accepts.
    turns: u32,
}

impl FairAccept {
    /// The policy for the worker that owns a record of `scoreboard`.
    #[must_use]
    pub fn new(scoreboard: Scoreboard) -> Self {
        Self {
            scoreboard,
            siblings: Vec::new(),
            siblings_listed_at: None,
            entitlement: 0,
            next_entitlement: 1,
            deferral: None,
        }
    }

    /// Tells the siblings that this worker accepts from now on.
    pub fn start(&mut self) {
        self.list_siblings();
        let own = self.scoreboard.own();
        // A new worker has nothing to catch up on: it begins at the highest turn.
        if let Some(turn) =
            self.siblings.iter().map(|sibling| sibling.accept_turn.load(Relaxed)).reduce(later_turn)
        {
            own.accept_turn.store(turn, Relaxed);
        }
        own.accepting.store(1, Relaxed);
        self.scoreboard.header().acceptors_changed.fetch_add(1, Release);
    }

    /// Tells the siblings that this worker accepts no more.
    pub fn stop(&self) {
        self.scoreboard.own().accepting.store(0, Relaxed);
    }

    /// A connection waits: whose is it?
    pub fn turn(&mut self) -> AcceptTurn {
        if self.entitlement > 0 {
            return AcceptTurn::Mine;
        }
        let now_us = now_us();
        self.list_siblings();
        let own = self.scoreboard.own();
        let in_front = |sibling: &&&Record| is_free(sibling, now_us) && has_precedence(sibling, own);
        let rank = self.siblings.iter().filter(in_front).count();
        if rank == 0 {
            self.deferral = None;
            return AcceptTurn::Mine;
        }
        self.defer(now_us, u32::try_from(rank).map_or(MAX_RANK, |rank| rank.min(MAX_RANK)))
    }

    fn defer(&mut self, now_us: u64, rank: u32) -> AcceptTurn {
        let turns = self
            .siblings
            .iter()
            .fold(0_u32, |sum, sibling| sum.wrapping_add(sibling.accept_turn.load(Relaxed)));
        match self.deferral {
            // Connections keep coming and nobody takes one: those in front are stuck.
            Some(deferral) if deferral.turns == turns && now_us >= deferral.since_us + DEFERRAL_US => {
                self.deferral_over();
                AcceptTurn::Mine
            }
            Some(deferral) if deferral.turns == turns => AcceptTurn::Theirs,
            Some(_) | None => {
                self.deferral = Some(Deferral { since_us: now_us, rank, turns });
                AcceptTurn::Theirs
            }
        }
    }

    /// How long to wait after [`AcceptTurn::Theirs`]: one [`DEFERRAL`] for each sibling in front, so that they do not all wake at
    /// once for a connection that the first has taken.
    #[must_use]
    pub fn deferral(&self) -> Duration {
        DEFERRAL * self.deferral.map_or(1, |deferral| deferral.rank)
    }

    /// A connection was accepted.
    pub fn accepted(&mut self) {
        self.entitlement = self.entitlement.saturating_sub(1);
        let turn = &self.scoreboard.own().accept_turn;
        turn.store(turn.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// No connection waits any more.
    pub fn queue_is_empty(&mut self) {
        self.deferral = None;
        self.entitlement = 0;
        self.next_entitlement = 1;
    }

    /// The time for which a connection was left to a sibling is over: what still waits may be accepted. The more often that
    /// happens in a row, the more at once.
    pub fn deferral_over(&mut self) {
        self.deferral = None;
        self.entitlement = self.next_entitlement;
        self.next_entitlement = (self.next_entitlement * 2).min(MAX_ENTITLEMENT);
    }

    fn list_siblings(&mut self) {
        let now = self.scoreboard.header().acceptors_changed.load(Acquire);
        if self.siblings_listed_at.replace(now) == Some(now) {
            return;
        }
        let own = self.scoreboard.own();
        self.siblings.clear();
        self.siblings.extend(
            self.scoreboard
                .records()
                .iter()
                .filter(|record| record.accepting.load(Relaxed) != 0 && !std::ptr::eq(*record, own)),
        );
    }
}

/// Marks, for the siblings, when the loop runs and when it waits for something to do.
#[derive(Debug, Clone, Copy)]
pub struct BusyMark {
    record: &'static Record,
}

impl BusyMark {
    /// The mark of the worker that owns a record of `scoreboard`.
    #[must_use]
    pub fn new(scoreboard: Scoreboard) -> Self {
        Self { record: scoreboard.own() }
    }

    /// The loop runs from now on.
    pub fn running(&self) {
        self.record.busy.store(low_bits(now_us()) | 1, Relaxed);
    }

    /// The loop is about to wait.
    pub fn waiting(&self) {
        self.record.busy.store(0, Relaxed);
    }
}

fn is_free(sibling: &Record, now_us: u64) -> bool {
    let busy_since = sibling.busy.load(Relaxed);
    let is_running_long = busy_since != 0 && low_bits(now_us).wrapping_sub(busy_since) > BUSY_US;
    sibling.accepting.load(Relaxed) != 0 && !is_running_long
}

/// Whether `sibling` should accept before `own`: it has fewer connections, or as many and an earlier turn.
fn has_precedence(sibling: &Record, own: &Record) -> bool {
    let (theirs, ours) = (sibling.connections.load(Relaxed), own.connections.load(Relaxed));
    let lead = own.accept_turn.load(Relaxed).wrapping_sub(sibling.accept_turn.load(Relaxed));
    theirs < ours || (theirs == ours && lead.cast_signed() > 0)
}

fn later_turn(one: u32, other: u32) -> u32 {
    if one.wrapping_sub(other).cast_signed() > 0 { one } else { other }
}

#[expect(clippy::cast_possible_truncation, reason = "differences below an hour survive the cut")]
const fn low_bits(us: u64) -> u32 {
    us as u32
}

fn now_us() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::{AcceptTurn, BusyMark, DEFERRAL, FairAccept, MAX_ENTITLEMENT};
    use crate::scoreboard_mapping::Scoreboard;

    fn two_workers() -> (FairAccept, FairAccept) {
        let board = Scoreboard::private().unwrap();
        let (mut one, mut other) = (FairAccept::new(board), FairAccept::new(board.with_own(1)));
        one.start();
        other.start();
        (one, other)
    }

    #[test]
    fn workers_with_equally_many_connections_take_turns() {
        let (mut one, mut other) = two_workers();
        assert_eq!(one.turn(), AcceptTurn::Mine);
        one.accepted();
        assert_eq!(one.turn(), AcceptTurn::Theirs);
        assert_eq!(other.turn(), AcceptTurn::Mine);
        other.accepted();
        assert_eq!(one.turn(), AcceptTurn::Mine);
    }

    #[test]
    fn fewer_connections_go_before_an_earlier_turn() {
        let (mut one, mut other) = two_workers();
        one.accepted();
        other.scoreboard.own().connections.store(3, Relaxed);
        assert_eq!(one.turn(), AcceptTurn::Mine);
        assert_eq!(other.turn(), AcceptTurn::Theirs);
    }

    #[test]
    fn a_sibling_that_is_busy_or_stopped_is_not_waited_for() {
        let (mut one, other) = two_workers();
        one.accepted();
        other.scoreboard.own().busy.store(super::low_bits(super::now_us() - 100_000) | 1, Relaxed);
        assert_eq!(one.turn(), AcceptTurn::Mine);
        BusyMark::new(other.scoreboard).waiting();
        assert_eq!(one.turn(), AcceptTurn::Theirs);
        other.stop();
        assert_eq!(one.turn(), AcceptTurn::Mine);
    }

    #[test]
    fn a_favour_that_nobody_takes_up_ends_and_ends_faster_each_time() {
        let (mut one, _other) = two_workers();
        one.scoreboard.own().connections.store(9, Relaxed);
        for round in 0..6 {
            assert_eq!(one.turn(), AcceptTurn::Theirs);
            one.deferral_over();
            let entitlement = (1 << round).min(MAX_ENTITLEMENT);
            for _ in 0..entitlement {
                assert_eq!(one.turn(), AcceptTurn::Mine);
                one.accepted();
            }
        }
    }

    #[test]
    fn a_stuck_sibling_holds_up_no_stream_of_connections() {
        let (mut one, _stuck) = two_workers();
        one.scoreboard.own().connections.store(9, Relaxed);
        // Each look is a new connection, which starts no new wait. The policy's own clock: another one is finer than its
        // microseconds.
        let started_us = super::now_us();
        while one.turn() == AcceptTurn::Theirs {
            assert!(
                super::now_us() < started_us + 100 * super::DEFERRAL_US,
                "a stuck sibling starves everybody"
            );
        }
        assert!(super::now_us() >= started_us + super::DEFERRAL_US);
    }

    #[test]
    fn the_later_in_line_waits_longer() {
        let (mut one, mut other) = two_workers();
        let mut third = FairAccept::new(one.scoreboard.with_own(2));
        third.start();
        for (worker, connections) in [(&one, 0), (&other, 1), (&third, 2)] {
            worker.scoreboard.own().connections.store(connections, Relaxed);
        }
        assert_eq!(
            [one.turn(), other.turn(), third.turn()],
            [AcceptTurn::Mine, AcceptTurn::Theirs, AcceptTurn::Theirs]
        );
        assert_eq!([other.deferral(), third.deferral()], [DEFERRAL, 2 * DEFERRAL]);
    }

    #[test]
    fn a_new_worker_has_nothing_to_catch_up_on() {
        let (mut one, mut other) = two_workers();
        for _ in 0..100 {
            one.accepted();
            other.accepted();
        }
        let mut newcomer = FairAccept::new(one.scoreboard.with_own(2));
        newcomer.start();
        assert_eq!(newcomer.turn(), AcceptTurn::Mine);
        newcomer.accepted();
        assert_eq!(newcomer.turn(), AcceptTurn::Theirs);
    }
}
