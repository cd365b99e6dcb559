//! Waiting for conditions. The only place that sleeps, and only between two looks at a condition that has a deadline.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

/// Time between two looks: short against everything that the tests measure.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// `duration` times SUPERVISE_TEST_PATIENCE (default 1): every deadline and every time bound of the tests goes through here,
/// so that a slow machine needs one number.
#[must_use]
pub fn patient(duration: Duration) -> Duration {
    static FACTOR: OnceLock<f64> = OnceLock::new();
    let factor = FACTOR.get_or_init(|| {
        std::env::var("SUPERVISE_TEST_PATIENCE").ok().and_then(|text| text.parse().ok()).unwrap_or(1.0)
    });
    duration.mul_f64(*factor)
}

/// What `look` found, or nothing when `within` (made patient) is over.
pub(crate) fn try_wait_for<T>(within: Duration, look: impl FnMut() -> Option<T>) -> Option<T> {
    try_wait_at_intervals(LOOK_INTERVAL, within, look)
}

fn try_wait_at_intervals<T>(
    interval: Duration,
    within: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Option<T> {
    let deadline = Instant::now() + patient(within);
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the pause between two looks at a condition with a deadline"
        )]
        std::thread::sleep(interval);
    }
}

/// What `look` finds within the time.
///
/// # Panics
/// When the time is over; the message names `what`.
pub fn wait_for<T>(what: &str, within: Duration, look: impl FnMut() -> Option<T>) -> T {
    try_wait_for(within, look).unwrap_or_else(|| panic!("waited {:?} in vain for {what}", patient(within)))
}

/// Waits until `condition` holds.
///
/// # Panics
/// When the time is over; the message names `what`.
pub fn wait_until(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, within, || condition().then_some(()));
}

/// Looks on for a while, ten times a second, as a test that runs beside others should.
pub fn observe_for(duration: Duration, mut look: impl FnMut()) {
    let deadline = Instant::now() + duration;
    let interval = Duration::from_millis(100);
    let is_over = try_wait_at_intervals(interval, duration * 2, || {
        look();
        (Instant::now() >= deadline).then_some(())
    });
    debug_assert!(is_over.is_some(), "twice the duration is more than the duration");
}
