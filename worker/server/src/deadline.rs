//! One timer for all the time limits of a connection, touched only when a limit comes nearer than the timer is set: a
//! connection that is busy with short requests costs no timer operation at all.

use std::{
    pin::Pin,
    task::Context,
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};

/// A timer that may be set finer than the clock is read: this close to its moment it is asked itself.
const CLOCK_SLACK: Duration = Duration::from_millis(50);

/// The timer of a connection.
#[derive(Default)]
pub(crate) struct Deadline {
    sleep: Option<Pin<Box<dyn Sleep>>>,
    /// When the timer goes off; `None` if it is not set.
    set_for: Option<Instant>,
}

/// Whether a time limit is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// Not yet; the task will be woken.
    Ahead,
    /// It is.
    Over,
}

impl Deadline {
    /// The task's waker is another one: the timer must learn of it.
    pub(crate) fn forget_waker(&mut self) {
        self.set_for = None;
    }

    /// Makes sure that the task is woken at `limit`, or some time before: then this is called again.
    pub(crate) fn watch(
        &mut self,
        limit: Option<Instant>,
        now: Instant,
        timer: &dyn Timer,
        context: &mut Context<'_>,
    ) -> Expiry {
        let Some(limit) = limit else { return Expiry::Ahead };
        if now >= limit {
            return Expiry::Over;
        }
        if let Some(set_for) = self.set_for
            && set_for <= limit
            && now + CLOCK_SLACK < set_for
        {
            return Expiry::Ahead;
        }
        self.set(limit, timer, context)
    }

    fn set(&mut self, limit: Instant, timer: &dyn Timer, context: &mut Context<'_>) -> Expiry {
        let sleep = match &mut self.sleep {
            Some(sleep) => {
                timer.reset(sleep, limit);
                sleep
            }
            None => self.sleep.insert(timer.sleep_until(limit)),
        };
        self.set_for = Some(limit);
        if sleep.as_mut().poll(context).is_ready() {
            self.set_for = None;
            return Expiry::Over;
        }
        Expiry::Ahead
    }
}
