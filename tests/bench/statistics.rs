//! Medians, ranges and percentiles.

use serde::Serialize;

/// The middle and the ends of some values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) count: usize,
}

/// `None` of nothing.
pub(crate) fn spread(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len();
    let (min, max) = (*sorted.first()?, *sorted.last()?);
    let median = f64::midpoint(sorted[(count - 1) / 2], sorted[count / 2]);
    Some(Spread { median, min, max, count })
}

/// The smallest value that `share` of all values do not exceed (nearest rank). Sorts `values`; 0 of nothing.
pub(crate) fn percentile(values: &mut [u64], share: f64) -> u64 {
    values.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "counts stay far below 2^52 and the rank is never negative"
    )]
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(spread([4.0, 1.0, 2.0, 9.0]), Some(Spread { median: 3.0, min: 1.0, max: 9.0, count: 4 }));
        assert_eq!(spread([7.0]), Some(Spread { median: 7.0, min: 7.0, max: 7.0, count: 1 }));
        assert_eq!(spread([]), None);
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let mut values: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(percentile(&mut values, 0.99), 99);
        assert_eq!(percentile(&mut values, 0.50), 50);
        assert_eq!(percentile(&mut [5], 0.99), 5);
        assert_eq!(percentile(&mut [], 0.99), 0);
    }
}
