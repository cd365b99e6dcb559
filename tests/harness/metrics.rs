//! Reads the Prometheus text format 0.0.4, as strictly as the tests need it.

use std::collections::BTreeMap;

/// One scrape.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// The text as it came.
    pub text: String,
    /// Every sample.
    pub samples: Vec<Sample>,
    types: BTreeMap<String, String>,
}

/// One line of a scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Name of the series.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Metrics {
    /// Parses a scrape.
    ///
    /// # Panics
    /// When a line is neither comment nor sample.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut metrics = Self { text: text.to_owned(), ..Self::default() };
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            if let Some(declaration) = line.strip_prefix("# TYPE ") {
                let (name, kind) = declaration.split_once(' ').expect("a TYPE line has a name and a type");
                metrics.types.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                let sample = parse_sample(line);
                metrics
                    .samples
                    .push(sample.unwrap_or_else(|| panic!("no sample of the text format: {line:?}")));
            }
        }
        metrics
    }

    /// The samples of a name that carry all of these labels.
    pub fn select<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(label, value)| sample.labels.get(*label).is_some_and(|held| held == value))
        })
    }

    /// The sum of a name's samples that carry all of these labels; 0 when there is none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.select(name, labels).map(|sample| sample.value).sum()
    }

    /// Whether there is a sample of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.samples.iter().any(|sample| sample.name == name)
    }

    /// The counters (and the growing parts of histograms) that are smaller here than they were in `earlier`, in plain words.
    #[must_use]
    pub fn fallen_since(&self, earlier: &Self) -> Vec<String> {
        let grows = |sample: &&Sample| {
            let family =
                ["_bucket", "_sum", "_count"].iter().find_map(|suffix| sample.name.strip_suffix(suffix));
            let kind = self.types.get(&sample.name).or_else(|| self.types.get(family?));
            kind.is_some_and(|kind| kind == "counter" || kind == "histogram")
        };
        let now = |old: &Sample| {
            self.samples
                .iter()
                .find(|new| new.name == old.name && new.labels == old.labels)
                .map(|new| new.value)
        };
        let fallen =
            earlier.samples.iter().filter(grows).filter(|old| now(old).is_some_and(|new| new < old.value));
        fallen.map(|old| format!("{} {:?}: {} -> {:?}", old.name, old.labels, old.value, now(old))).collect()
    }
}

fn parse_sample(line: &str) -> Option<Sample> {
    let (series, value) = match line.split_once('{') {
        Some((name, rest)) => {
            let (labels, value) = rest.rsplit_once('}')?;
            ((name, labels), value)
        }
        None => {
            let (name, value) = line.split_once(' ')?;
            ((name, ""), value)
        }
    };
    let value = value.split_whitespace().next()?.replace("Inf", "inf").parse().ok()?;
    Some(Sample { name: series.0.to_owned(), labels: parse_labels(series.1)?, value })
}

/// Labels without escapes in their values, which is all that the supervisor writes.
fn parse_labels(text: &str) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    let mut rest = text.trim_matches(',');
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = after.split_once('"')?;
        labels.insert(name.trim().to_owned(), value.to_owned());
        rest = after.trim_start_matches(',');
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_is_read_and_a_fallen_counter_is_named() {
        let text =
            "# TYPE a_total counter\na_total{x=\"1\",y=\"b c\"} 3\na_total{x=\"2\"} 4\n# TYPE g gauge\ng 9\n";
        let earlier = Metrics::parse(text);
        assert_eq!(earlier.sum("a_total", &[]), 7.0);
        assert_eq!(earlier.sum("a_total", &[("x", "1")]), 3.0);
        let later =
            Metrics::parse("# TYPE a_total counter\na_total{x=\"1\",y=\"b c\"} 2\n# TYPE g gauge\ng 1\n");
        let fallen = later.fallen_since(&earlier);
        assert_eq!(fallen.len(), 1, "only the counter, and not the gauge: {fallen:?}");
    }
}
