//! A clock and a timer that move when a test says so. It is always 8:49:37 on Sunday, 6 November 1994, and some monotonic time.

#![allow(clippy::unwrap_used, reason = "a test that breaks its own rules may panic")]

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};
use worker_server::Clock;

#[derive(Debug)]
struct State {
    now: Instant,
    sleepers: Vec<(Instant, Waker)>,
    operations: usize,
}

/// The clock; a clone is the same clock.
#[derive(Debug, Clone)]
pub struct FakeTime(Arc<Mutex<State>>);

impl FakeTime {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State { now: Instant::now(), sleepers: Vec::new(), operations: 0 })))
    }

    pub fn pass(&self, duration: Duration) {
        let mut state = self.0.lock().unwrap();
        state.now += duration;
        let now = state.now;
        let (due, ahead) = std::mem::take(&mut state.sleepers).into_iter().partition(|(at, _)| *at <= now);
        state.sleepers = ahead;
        drop(state);
        let due: Vec<(Instant, Waker)> = due;
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// How often a timer was set.
    pub fn operations(&self) -> usize {
        self.0.lock().unwrap().operations
    }
}

impl Clock for FakeTime {
    fn now(&self) -> Instant {
        self.0.lock().unwrap().now
    }

    fn unix_seconds(&self) -> u64 {
        784_111_777
    }
}

impl Timer for FakeTime {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Clock::now(self) + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.0.lock().unwrap().operations += 1;
        Box::pin(FakeSleep { time: self.clone(), deadline })
    }
}

struct FakeSleep {
    time: FakeTime,
    deadline: Instant,
}

impl Sleep for FakeSleep {}

impl Future for FakeSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.time.0.lock().unwrap();
        if state.now >= self.deadline {
            return Poll::Ready(());
        }
        state.sleepers.push((self.deadline, context.waker().clone()));
        Poll::Pending
    }
}
