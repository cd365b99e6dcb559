//! From samples to verdicts, and to the two forms of the table: Markdown for people, JSON for keeping.

use std::{collections::BTreeMap, fmt::Write};

use serde::Serialize;

use crate::{
    contenders::Contender,
    measure::{Noise, Sample},
    peers::Python,
    rows::{Against, Bound, Figure, Row},
    statistics::{Spread, spread},
};

/// All that one run of the bench found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) date: String,
    pub(crate) commit: String,
    pub(crate) machine: String,
    pub(crate) profile: String,
    pub(crate) seconds: f64,
    pub(crate) nginx: Option<String>,
    pub(crate) pythons: Vec<Python>,
    pub(crate) rows: Vec<RowReport>,
    pub(crate) errors: Vec<String>,
}

/// One row with one interpreter.
#[derive(Debug, Serialize)]
pub(crate) struct RowReport {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) python: String,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) samples: Vec<Sample>,
}

/// A bound and how it was met.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    figure: Figure,
    /// None for an absolute bound.
    against: Option<Contender>,
    /// Set where the peer's own ratio to this is compared with ours.
    relative_to: Option<Contender>,
    at_most: f64,
    /// Of the per-round ratios, or of the figure itself.
    measured: Spread,
    pub(crate) met: Met,
}

/// Whether the median is within the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Met {
    Yes,
    No,
}

impl Verdict {
    fn compared_with(&self) -> String {
        match (self.against, self.relative_to) {
            (None, _) => "–".to_owned(),
            (Some(peer), None) => peer.name(),
            (Some(dear), Some(cheap)) => format!("{} ÷ {}", dear.name(), cheap.name()),
        }
    }
}

impl RowReport {
    pub(crate) fn new(row: &Row, python: &str, samples: Vec<Sample>) -> Self {
        let verdicts = row.bounds.iter().filter_map(|bound| verdict(bound, &samples)).collect();
        RowReport { name: row.name, title: row.title, python: python.to_owned(), verdicts, samples }
    }

    fn markdown(&self, text: &mut String) {
        let mut figures: Vec<Figure> = self.samples.iter().flat_map(|s| s.figures.keys().copied()).collect();
        figures.sort();
        figures.dedup();
        let Some(main) = figures.first().copied() else { return };
        writeln_to(text, format_args!("\n### {}: {} (Python {})\n", self.name, self.title, self.python));
        let noise =
            |of: fn(&Noise) -> f64| spread(self.samples.iter().filter_map(|s| s.noise.as_ref()).map(of));
        if let (Some(foreign), Some(stolen)) =
            (noise(|n| n.foreign_processors), noise(|n| n.stolen_processors))
        {
            writeln_to(
                text,
                format_args!(
                    "Noise (medians): others kept {:.2} processors busy, the host took {:.2}.\n",
                    foreign.median, stolen.median
                ),
            );
        }
        let titles: String = figures[1..].iter().map(|figure| format!(" {} |", figure.title())).collect();
        writeln_to(text, format_args!("| server | {} | min–max | supervise ÷ it |{titles}", main.title()));
        writeln_to(text, format_args!("|{}", "---|".repeat(figures.len() + 3)));
        let mut contenders: Vec<Contender> = self.samples.iter().map(|sample| sample.contender).collect();
        contenders.sort();
        contenders.dedup();
        for contender in contenders {
            let of = |figure| spread(values(&self.samples, contender, figure).into_values());
            let Some(cost) = of(main) else { continue };
            let ratio = ratios(&self.samples, contender, main)
                .filter(|_| contender != Contender::Supervise)
                .map_or("–".to_owned(), |ratio| {
                    format!("{:.3} ({:.2}–{:.2})", ratio.median, ratio.min, ratio.max)
                });
            let rest: String = figures[1..]
                .iter()
                .map(|figure| {
                    of(*figure).map_or(" – |".to_owned(), |v| format!(" {} |", significant(v.median)))
                })
                .collect();
            writeln_to(
                text,
                format_args!(
                    "| {} | {} | {}–{} | {ratio} |{rest}",
                    contender.name(),
                    significant(cost.median),
                    significant(cost.min),
                    significant(cost.max)
                ),
            );
        }
    }
}

impl Report {
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        writeln_to(
            &mut text,
            format_args!("## Bench of {} at {}, {} s a measurement\n", self.commit, self.date, self.seconds),
        );
        writeln_to(&mut text, format_args!("{}; profile {}.", self.machine, self.profile));
        for python in &self.pythons {
            writeln_to(
                &mut text,
                format_args!("Python {} ({}): {}.", python.version, python.prefix, python.peers.join(", ")),
            );
        }
        writeln_to(&mut text, format_args!("{}.", self.nginx.as_deref().unwrap_or("nginx is not installed")));
        for row in &self.rows {
            row.markdown(&mut text);
        }
        self.verdicts_markdown(&mut text);
        for error in &self.errors {
            writeln_to(&mut text, format_args!("\n**Error**: {error}"));
        }
        text
    }

    fn verdicts_markdown(&self, text: &mut String) {
        if self.rows.iter().all(|row| row.verdicts.is_empty()) {
            return;
        }
        writeln_to(text, format_args!("\n### Bounds\n"));
        writeln_to(
            text,
            format_args!(
                "| row | Python | figure | against the best of its kind | at most | measured (min–max) | rounds | met |"
            ),
        );
        writeln_to(text, format_args!("|{}", "---|".repeat(8)));
        for row in &self.rows {
            for verdict in &row.verdicts {
                writeln_to(
                    text,
                    format_args!(
                        "| {} | {} | {} | {} | {} | **{}** ({}–{}) | {} | {} |",
                        row.name,
                        row.python,
                        verdict.figure.title(),
                        verdict.compared_with(),
                        verdict.at_most,
                        significant(verdict.measured.median),
                        significant(verdict.measured.min),
                        significant(verdict.measured.max),
                        verdict.measured.count,
                        match verdict.met {
                            Met::Yes => "yes",
                            Met::No => "**no**",
                        }
                    ),
                );
            }
        }
    }

    /// Bounds that were measured and missed.
    pub(crate) fn missed(&self) -> usize {
        self.rows.iter().flat_map(|row| &row.verdicts).filter(|verdict| verdict.met == Met::No).count()
    }
}

/// `None` when supervise, or everyone whom it is compared with, was not measured.
fn verdict(bound: &Bound, samples: &[Sample]) -> Option<Verdict> {
    let (against, relative_to, measured) = match bound.against {
        Against::Absolute => {
            (None, None, spread(values(samples, Contender::Supervise, bound.figure).into_values())?)
        }
        Against::Best(peers) => {
            let best = best(samples, peers, bound.figure)?;
            (Some(best), None, ratios(samples, best, bound.figure)?)
        }
        Against::RatioOf { own, dear, cheap } => {
            let of = |contender| values(samples, contender, bound.figure);
            let dear_one = dear;
            let (ours, own, dear, cheap_values) = (of(Contender::Supervise), of(own), of(dear), of(cheap));
            let of_round = |(round, ours): (&u32, &f64)| {
                Some(ours / own.get(round)? / (dear.get(round)? / cheap_values.get(round)?))
            };
            (Some(dear_one), Some(cheap), spread(ours.iter().filter_map(of_round))?)
        }
    };
    let met = if measured.median <= bound.at_most { Met::Yes } else { Met::No };
    Some(Verdict { figure: bound.figure, against, relative_to, at_most: bound.at_most, measured, met })
}

/// The one with the lowest median: "best setting" is a choice that a user could make, which the luckiest of each round is not.
fn best(samples: &[Sample], peers: &[Contender], figure: Figure) -> Option<Contender> {
    let median =
        |peer: &Contender| Some((spread(values(samples, *peer, figure).into_values())?.median, *peer));
    peers.iter().filter_map(median).min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, peer)| peer)
}

/// supervise's figure divided by `contender`'s, round by round.
fn ratios(samples: &[Sample], contender: Contender, figure: Figure) -> Option<Spread> {
    let ours = values(samples, Contender::Supervise, figure);
    let theirs = values(samples, contender, figure);
    spread(ours.iter().filter_map(|(round, ours)| Some(ours / theirs.get(round)?)))
}

fn values(samples: &[Sample], contender: Contender, figure: Figure) -> BTreeMap<u32, f64> {
    let of = samples.iter().filter(|sample| sample.contender == contender);
    of.filter_map(|sample| Some((sample.round, *sample.figures.get(&figure)?))).collect()
}

/// Three digits that say something.
fn significant(value: f64) -> String {
    let decimals = match value.abs() {
        large if large >= 100.0 => 0,
        medium if medium >= 10.0 => 1,
        small if small >= 1.0 => 2,
        _ratio => 3,
    };
    format!("{value:.decimals$}")
}

fn writeln_to(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _: std::fmt::Result = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPU: Figure = Figure::CpuMicrosecondsPerRequest;

    fn sample(contender: Contender, round: u32, cost: f64) -> Sample {
        Sample { contender, round, figures: BTreeMap::from([(CPU, cost)]), noise: None }
    }

    fn two_peers() -> Vec<Sample> {
        use Contender::{GranianMt, GranianSt, Supervise};
        // st is the best of round 1, mt has the better median.
        [(Supervise, 10.0, 30.0, 20.0), (GranianSt, 20.0, 60.0, 50.0), (GranianMt, 25.0, 40.0, 40.0)]
            .into_iter()
            .flat_map(|(who, a, b, c)| [sample(who, 1, a), sample(who, 2, b), sample(who, 3, c)])
            .collect()
    }

    #[test]
    fn a_bound_takes_the_median_of_per_round_ratios_to_the_best_setting() {
        let bound = Bound { figure: CPU, against: Against::Best(crate::contenders::GRANIAN), at_most: 0.5 };
        let verdict = verdict(&bound, &two_peers()).expect("both were measured");
        assert_eq!(verdict.against, Some(Contender::GranianMt));
        assert_eq!(verdict.measured, Spread { median: 0.5, min: 0.4, max: 0.75, count: 3 });
        assert_eq!(verdict.met, Met::Yes);
    }

    #[test]
    fn a_bound_is_missed_by_its_median_alone_and_silent_without_figures() {
        let strict = Bound { figure: CPU, against: Against::Absolute, at_most: 19.9 };
        assert_eq!(verdict(&strict, &two_peers()).map(|verdict| verdict.met), Some(Met::No));
        let other = Bound { figure: CPU, against: Against::Best(&[Contender::Uvicorn]), at_most: 9.0 };
        assert!(verdict(&other, &two_peers()).is_none());
    }

    #[test]
    fn a_round_without_a_pair_is_left_out() {
        let mut samples = two_peers();
        samples.retain(|sample| (sample.contender, sample.round) != (Contender::GranianMt, 2));
        let ratio = ratios(&samples, Contender::GranianMt, CPU).expect("two rounds are left");
        assert_eq!((ratio.count, ratio.max), (2, 0.5));
    }
}
