//! A histogram of times that the supervisor itself observes. Knows nothing of how it is shown.

/// How long a worker's loop takes to answer: from nothing to the time-outs that people set.
pub const LOOP_LAG_BOUNDS_MS: [u64; 9] = [1, 5, 10, 50, 100, 500, 1_000, 5_000, 10_000];
/// From the spawn to ready: from a native program to a slow import.
pub const BOOT_BOUNDS_MS: [u64; 11] = [10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000];

/// Counts per bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    bounds_ms: &'static [u64],
    counts: Vec<u64>,
    sum_ms: u64,
}

impl Histogram {
    /// Empty.
    #[must_use]
    pub fn new(bounds_ms: &'static [u64]) -> Self {
        Self { bounds_ms, counts: vec![0; bounds_ms.len() + 1], sum_ms: 0 }
    }

    /// Counts one time.
    pub fn observe_ms(&mut self, ms: u64) {
        let bucket = self.bounds_ms.partition_point(|&bound| bound < ms);
        self.counts[bucket] += 1;
        self.sum_ms = self.sum_ms.saturating_add(ms);
    }

    /// Upper bounds in milliseconds; one count more than there are bounds; the sum in milliseconds.
    #[must_use]
    pub fn parts(&self) -> (&'static [u64], &[u64], u64) {
        (self.bounds_ms, &self.counts, self.sum_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::{Histogram, LOOP_LAG_BOUNDS_MS};

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let mut histogram = Histogram::new(&LOOP_LAG_BOUNDS_MS);
        for ms in [0, 1, 2, 99_999] {
            histogram.observe_ms(ms);
        }
        assert_eq!(histogram.parts().1, [2, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(histogram.parts().2, 100_002);
    }
}
