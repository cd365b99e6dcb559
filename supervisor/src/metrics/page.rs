//! The page of one scrape, as the prometheus crate has it: families of gauges, counters and histograms. Knows no fleet.

use prometheus::{
    core::{Collector, Desc},
    proto::{
        Bucket, Counter as CounterValue, Gauge, Histogram as HistogramValue, LabelPair, Metric, MetricFamily,
        MetricType,
    },
};
use supervisor_fleet::Slot;

use super::POOL;
use crate::histogram::Histogram;

/// The families of one scrape.
#[derive(Default)]
pub(super) struct Page {
    families: Vec<MetricFamily>,
}

impl Page {
    pub(super) fn family(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        metrics: impl IntoIterator<Item = Metric>,
    ) {
        let metrics: Vec<Metric> = metrics.into_iter().collect();
        // A family of which there is nothing to say has no lines.
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.families.push(family);
    }

    pub(super) fn gauge<'a, L>(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (L, f64)>)
    where
        L: AsRef<[(&'a str, &'a str)]>,
    {
        let metrics = samples.into_iter().map(|(pairs, value)| gauge_metric(labels(pairs.as_ref()), value));
        self.family(name, help, MetricType::GAUGE, metrics);
    }

    pub(super) fn counters<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, u64)>,
    ) {
        let metrics = samples.into_iter().map(|(pairs, value)| counter_metric(labels(&pairs), as_f64(value)));
        self.family(name, help, MetricType::COUNTER, metrics);
    }

    pub(super) fn by_worker(&mut self, name: &str, help: &str, samples: impl Iterator<Item = (Slot, f64)>) {
        let metrics = samples.map(|(slot, value)| {
            gauge_metric(labels(&[("pool", POOL), ("worker", &slot.0.to_string())]), value)
        });
        self.family(name, help, MetricType::GAUGE, metrics);
    }

    pub(super) fn times(&mut self, name: &str, help: &str, histogram: &Histogram) {
        let (bounds_ms, counts, sum_ms) = histogram.parts();
        let bounds: Vec<f64> = bounds_ms.iter().map(|&ms| as_f64(ms) / 1e3).collect();
        self.family(
            name,
            help,
            MetricType::HISTOGRAM,
            [histogram_metric(&bounds, counts, as_f64(sum_ms) / 1e3)],
        );
    }
}

impl Collector for Page {
    /// None: the families are made at each scrape, and one collector cannot be in its own way.
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.families.clone()
    }
}

pub(super) fn labels(pairs: &[(&str, &str)]) -> Vec<LabelPair> {
    let pairs = pairs.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    pairs.collect()
}

pub(super) fn gauge_metric(labels: Vec<LabelPair>, value: f64) -> Metric {
    let (mut metric, mut gauge) = (Metric::from_label(labels), Gauge::default());
    gauge.set_value(value);
    metric.set_gauge(gauge);
    metric
}

pub(super) fn counter_metric(labels: Vec<LabelPair>, value: f64) -> Metric {
    let (mut metric, mut counter) = (Metric::from_label(labels), CounterValue::default());
    counter.set_value(value);
    metric.set_counter(counter);
    metric
}

/// `counts` has one more than `bounds` and is not cumulative; the text format is.
pub(super) fn histogram_metric(bounds: &[f64], counts: &[u64], sum: f64) -> Metric {
    let mut seen = 0;
    let buckets = bounds.iter().zip(counts).map(|(bound, count)| {
        seen += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(seen);
        bucket
    });
    let mut histogram = HistogramValue::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(counts.iter().sum());
    histogram.set_sample_sum(sum);
    let mut metric = Metric::from_label(labels(&[("pool", POOL)]));
    metric.set_histogram(histogram);
    metric
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus' numbers are doubles")]
pub(super) fn as_f64(number: u64) -> f64 {
    number as f64
}
