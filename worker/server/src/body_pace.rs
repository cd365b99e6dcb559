//! How fast a request's body comes: the time that was spent waiting for it, held against what came. Pure: time comes in. Knows
//! nothing of who waits; the time in which nobody is willing to read does not count.

use std::time::{Duration, Instant};

use crate::limits::BODY_RATE_GRACE;

/// The wait for one body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BodyPace {
    /// All waits that are over.
    waited: Duration,
    /// When the present one began.
    since: Option<Instant>,
}

impl BodyPace {
    /// The body is waited for from now on, if it was not before.
    pub(crate) fn wait(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// The body is not waited for any more.
    pub(crate) fn rest(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.waited += now.saturating_duration_since(since);
        }
    }

    /// When the body that is waited for becomes too slow, if nothing comes until then; `received` bytes have come.
    pub(crate) fn limit(&self, received: u64, bytes_per_second: Option<u32>) -> Option<Instant> {
        let (since, rate) = (self.since?, bytes_per_second?);
        let earned = Duration::from_millis(received.saturating_mul(1_000) / u64::from(rate.max(1)));
        since.checked_add(earned.max(BODY_RATE_GRACE).saturating_sub(self.waited))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::BodyPace;

    #[test]
    fn only_the_wait_counts_and_each_byte_earns_time() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pace = BodyPace::default();
        assert_eq!(pace.limit(0, Some(100)), None, "nobody waits");
        pace.wait(start);
        assert_eq!(pace.limit(0, None), None, "no bound");
        assert_eq!(pace.limit(0, Some(100)), Some(at(5)));
        pace.wait(at(1));
        assert_eq!(pace.limit(499, Some(100)), Some(at(5)), "the first seconds are free");
        assert_eq!(pace.limit(700, Some(100)), Some(at(7)));
        pace.rest(at(3));
        pace.rest(at(4));
        assert_eq!(pace.limit(700, Some(100)), None);
        pace.wait(at(100));
        assert_eq!(pace.limit(700, Some(100)), Some(at(104)));
    }
}
