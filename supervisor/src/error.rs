//! Expected errors: what a user or an operator can mend. Each has an id, one sentence, a place where there is one,
//! help, and an exit code. A bug of ours is not one of these: it panics, loudly.

use std::{fmt, io, process::ExitCode};

/// The exit codes of `supervise` (README, "Exit codes"). From 64 up they are those of sysexits.h, which systemd names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// Stopped as asked.
    Clean = 0,
    /// Anything else.
    Other = 1,
    /// The command line is wrong or asks for what is not there yet.
    Usage = 2,
    /// The first worker could not boot (gunicorn's number).
    BootFailed = 3,
    /// The application could not be loaded (gunicorn's number).
    AppNotLoaded = 4,
    /// The configuration file is missing.
    ConfigMissing = 66,
    /// An address or a pid file is in use by another.
    Unavailable = 69,
    /// The system refused what it should grant: no descriptors, no memory, no `worker` program.
    OsError = 71,
    /// Not permitted.
    Permission = 77,
    /// The configuration file is wrong.
    BadConfig = 78,
}

impl ExitStatus {
    /// For a file that could not be written, by what the system says of it.
    #[must_use]
    pub fn of_unwritable(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::Permission,
            _ => Self::OsError,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}

/// A place in a text file, for the caret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// As the user wrote it.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The line as it stands in the file.
    pub source: String,
    /// How many characters the carets cover, at least 1.
    pub width: usize,
    /// What stands after the carets; may be empty.
    pub remark: String,
}

/// An error that is not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedError {
    /// Stable name, "config/unknown-key".
    pub id: &'static str,
    /// One sentence in plain words.
    pub message: String,
    /// Where.
    pub place: Option<Box<Place>>,
    /// What to do.
    pub help: Vec<String>,
    /// The exit code of the program.
    pub exit: ExitStatus,
}

/// The result of everything that a user's mistake can stop.
pub type Expected<T> = Result<T, ExpectedError>;

impl ExpectedError {
    /// An error without place or help.
    pub fn new(id: &'static str, exit: ExitStatus, message: impl Into<String>) -> Self {
        Self { id, message: message.into(), place: None, help: Vec::new(), exit }
    }

    /// Adds a line that says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Adds the place.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(Box::new(place));
        self
    }
}

impl fmt::Display for ExpectedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.id, self.message)?;
        let mut margin = 1;
        if let Some(place) = &self.place {
            margin = place.line.to_string().len();
            let blank = " ".repeat(margin);
            write!(f, "\n{blank} --> {}:{}:{}", place.file, place.line, place.column)?;
            write!(f, "\n{blank}  |\n {} | {}", place.line, place.source)?;
            // A tab of the source stays a tab, so that the caret stands below what it means.
            let lead: String =
                place.source.chars().take(place.column.saturating_sub(1)).map(blank_like).collect();
            let carets = "^".repeat(place.width.max(1));
            let remark = format!("{lead}{carets} {}", place.remark);
            write!(f, "\n{blank}  | {}", remark.trim_end())?;
        }
        for help in &self.help {
            write!(f, "\n{}  = help: {help}", " ".repeat(margin))?;
        }
        Ok(())
    }
}

impl std::error::Error for ExpectedError {}

fn blank_like(character: char) -> char {
    if character == '\t' { '\t' } else { ' ' }
}

#[cfg(test)]
mod tests {
    use super::{ExitStatus, ExpectedError, Place};

    #[test]
    fn an_error_points_at_its_place() {
        let error =
            ExpectedError::new("config/unknown-key", ExitStatus::BadConfig, "unknown setting `wrokers`")
                .at(Place {
                    file: "supervise.yaml".into(),
                    line: 12,
                    column: 3,
                    source: "\t wrokers: 4".into(),
                    width: 7,
                    remark: "did you mean `workers`?".into(),
                })
                .help("`supervise --help` lists every setting");
        assert_eq!(error.to_string(), include_str!("../snapshots/error_with_place.txt").trim_end());
    }

    #[test]
    fn an_error_without_a_place_is_a_sentence_and_its_help() {
        let error = ExpectedError::new("bind/in-use", ExitStatus::Unavailable, "127.0.0.1:80 is in use")
            .help("stop it");
        assert_eq!(error.to_string(), "error[bind/in-use]: 127.0.0.1:80 is in use\n   = help: stop it");
    }
}
