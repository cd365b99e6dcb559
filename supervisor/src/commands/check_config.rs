//! `supervise check-config`: settles the settings as a start would, and says what would be run. Starts and binds nothing.

use std::io::{self, Write as _};

use crate::{certificates, config::Sources, error::Expected};

/// Settles everything; what is wrong is the error.
///
/// # Errors
/// Whatever a start would refuse before it binds.
pub fn run(sources: &Sources) -> Expected<()> {
    let settings = sources.settle()?;
    let certificates = match (&settings.tls_files, &settings.worker.tls) {
        (Some(files), Some(rules)) => certificates::check(files, rules)?,
        (None, _) | (_, None) => Vec::new(),
    };
    let binds: Vec<String> = settings.bind.iter().map(ToString::to_string).collect();
    let workers = settings.pool.workers;
    let s = if workers == 1 { "" } else { "s" };
    let mut out = io::stdout();
    // A reader that is gone wants no answer.
    let _gone =
        writeln!(out, "ok: {} with {workers} worker{s} at {}", settings.application_name, binds.join(", "));
    for facts in &certificates {
        let _gone = writeln!(
            out,
            "ok: certificate {} for {}, valid until {}",
            facts.file.display(),
            facts.names.join(", "),
            facts.not_after
        );
    }
    for remark in settings.remarks.iter().chain(&certificates::remarks(&certificates)) {
        let _gone = writeln!(out, "note: {remark}");
    }
    Ok(())
}
