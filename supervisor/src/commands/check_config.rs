//! `supervise check-config`: settles the settings as a start would, and says what would be run. Starts and binds nothing.

use std::io::{self, Write as _};

use crate::{config::Sources, error::Expected};

/// Settles everything; what is wrong is the error.
///
/// # Errors
/// Whatever a start would refuse before it binds.
pub fn run(sources: &Sources) -> Expected<()> {
    let settings = sources.settle()?;
    let binds: Vec<String> = settings.bind.iter().map(ToString::to_string).collect();
    let workers = settings.pool.workers;
    let s = if workers == 1 { "" } else { "s" };
    let mut out = io::stdout();
    // A reader that is gone wants no answer.
    let _gone =
        writeln!(out, "ok: {} with {workers} worker{s} at {}", settings.application_name, binds.join(", "));
    for remark in &settings.remarks {
        let _gone = writeln!(out, "note: {remark}");
    }
    Ok(())
}
