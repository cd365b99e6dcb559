//! What all connections of one worker share: limits, meter, clock, timer, drain, spare buffers and the cached Date header.
//! One per thread; knows no connection and no app.

use std::{rc::Rc, time::Instant};

use hyper::rt::Timer;

use crate::{Drain, Limits, Meter};

/// The time, as cheaply as the driver can tell it: a reactor may read the clocks once a turn.
pub trait Clock: 'static {
    /// Monotonic time. The duration of a request is the difference of two readings, so a clock that stands still for a whole
    /// turn measures nothing of an app that answers within it.
    fn now(&self) -> Instant;
    /// Whole seconds since 1970-01-01T00:00:00Z, for the Date header.
    fn unix_seconds(&self) -> u64;
}

/// What all connections of one worker share.
pub struct Service {
    pub(crate) limits: Limits,
    pub(crate) meter: Rc<dyn Meter>,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) timer: Box<dyn Timer>,
    pub(crate) drain: Drain,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Service")
            .field("limits", &self.limits)
            .field("drain", &self.drain)
            .finish_non_exhaustive()
    }
}

impl Service {
    /// Bundles what the driver provides.
    pub fn new(
        limits: Limits,
        meter: Rc<dyn Meter>,
        clock: impl Clock,
        timer: impl Timer + 'static,
        drain: Drain,
    ) -> Rc<Self> {
        Rc::new(Self { limits, meter, clock: Box::new(clock), timer: Box::new(timer), drain })
    }

    /// The handle by which all connections are told to finish.
    #[must_use]
    pub fn drain(&self) -> &Drain {
        &self.drain
    }
}
