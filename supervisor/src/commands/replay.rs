//! `supervise replay FILE`: plays a recorded run to the law of this version, shows each decision, and says whether it decides as it was
//! recorded. Starts and signals nothing.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use supervisor_fleet::transcript;

use crate::error::{ExitStatus, Expected, ExpectedError};

/// Plays the recording to standard output.
///
/// # Errors
/// Exit 66 for a file that cannot be read, 78 for one that is no recording, 1 when the law decides otherwise than recorded.
pub fn run(path: &Path) -> Expected<()> {
    let recorded = fs::read_to_string(path).map_err(|error| {
        let message = format!("the recording {} cannot be read: {error}", path.display());
        ExpectedError::new("replay/file", ExitStatus::ConfigMissing, message)
    })?;
    let whole = whole_lines(&recorded);
    let played = transcript::play(whole).map_err(|error| {
        let message = format!("{} is no recording: {error}", path.display());
        ExpectedError::new("replay/malformed", ExitStatus::BadConfig, message)
            .help("a recording is made by `supervise --record FILE`")
    })?;
    // A reader that is gone wants no more.
    let _gone = io::stdout().write_all(played.as_bytes());
    match first_difference(whole, &played) {
        None => Ok(()),
        Some(difference) => {
            let message = format!("this version decides otherwise than recorded: {difference}");
            Err(ExpectedError::new("replay/differs", ExitStatus::Other, message)
                .help("the first lines of the recording name the version that recorded it"))
        }
    }
}

/// Without a last line that was cut off: the run may have been killed while it was written.
fn whole_lines(text: &str) -> &str {
    text.rfind('\n').map_or("", |end| &text[..=end])
}

/// The run may have been killed between an event and the last of its orders: then the recording just ends earlier.
fn first_difference(recorded: &str, played: &str) -> Option<String> {
    let mut played = played.lines();
    recorded.lines().enumerate().find_map(|(before, was)| {
        let is = played.next();
        (is != Some(was)).then(|| {
            format!(
                "line {}: recorded `{}`, now `{}`",
                before + 1,
                was.trim(),
                is.unwrap_or("nothing").trim()
            )
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{first_difference, whole_lines};

    #[test]
    fn a_line_that_was_cut_off_does_not_count() {
        assert_eq!(whole_lines("0 start\n7  ready 1\n9  hea"), "0 start\n7  ready 1\n");
        assert_eq!(whole_lines("0 sta"), "");
    }

    #[test]
    fn the_first_other_decision_is_named_and_a_missing_end_is_none() {
        assert_eq!(
            first_difference("0 start\n0  → spawn 1\n", "0 start\n0  → spawn 1\n0  → spawn 2\n"),
            None
        );
        let other = first_difference("0 start\n0  → spawn 1\n", "0 start\n0  → spawn 2\n").expect("differs");
        assert!(
            other.contains("line 2") && other.contains("spawn 1") && other.contains("spawn 2"),
            "{other}"
        );
    }
}
