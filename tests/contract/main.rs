//! What is promised in words, held against the programs: the README, `--help`, and the metric names that `deploy/` relies on.

mod metric_names;
mod readme;
