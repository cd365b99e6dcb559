//! Whether a reload may begin: the configuration is read and settled anew and compared with what runs. Changes nothing.

use crate::config::{Sources, settings::Settings};

/// The answer.
#[derive(Debug)]
pub enum Decision {
    /// These settings are good.
    Go(Box<Settings>),
    /// Why not.
    Refuse(String),
}

/// Reads and settles the configuration again.
#[must_use]
pub fn decide(sources: &Sources, running: &Settings) -> Decision {
    match sources.settle() {
        Err(error) => Decision::Refuse(error.to_string()),
        Ok(settings) => match needs_restart(running, &settings).as_slice() {
            [] => Decision::Go(Box::new(settings)),
            names => Decision::Refuse(format!("a change of {} needs a restart", names.join(", "))),
        },
    }
}

/// What belongs to the supervisor itself, which a reload does not replace.
fn needs_restart(running: &Settings, new: &Settings) -> Vec<&'static str> {
    let changes = [
        ("bind", running.bind != new.bind),
        ("metrics", running.metrics != new.metrics),
        ("pid", running.pid_file != new.pid_file),
        ("log_level", running.log_level != new.log_level),
        ("log_format", running.log_format != new.log_format),
    ];
    changes.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
}
