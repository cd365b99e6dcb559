//! Why a worker does not start: one message in plain words, how far it came, and the exit code that says it to scripts.
//! Only what a user or an operator can mend comes here; a bug of ours panics.

use std::{fmt, process::ExitCode};

use protocol::Phase;

/// Why a worker does not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartError {
    /// The class, which is also the exit code.
    pub kind: StartErrorKind,
    /// Cause, place and what to do, in plain words; may have several lines.
    pub message: String,
}

/// Classes of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartErrorKind {
    /// The command line is wrong.
    Usage,
    /// The worker failed to boot: what it inherited is wrong, or the application's start-up failed.
    Boot,
    /// No interpreter or extension for the application.
    Interpreter,
    /// The application could not be found or loaded.
    Load,
    /// The address is in use.
    AddressInUse,
    /// The operating system refused.
    Os,
    /// A permission is missing.
    Permission,
}

impl StartErrorKind {
    /// The exit code of the process (DESIGN §4; 66 and up are those of sysexits.h).
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Boot | Self::Interpreter => 3,
            Self::Load => 4,
            Self::AddressInUse => 69,
            Self::Os => 71,
            Self::Permission => 77,
        }
    }

    /// How the control channel calls it.
    #[must_use]
    pub const fn phase(self) -> Phase {
        match self {
            Self::Load | Self::Interpreter => Phase::Load,
            Self::Usage | Self::Boot | Self::AddressInUse | Self::Os | Self::Permission => Phase::Startup,
        }
    }
}

impl StartError {
    /// An error of `kind` with its message.
    pub fn new(kind: StartErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The worker failed to boot.
    pub fn boot(message: impl Into<String>) -> Self {
        Self::new(StartErrorKind::Boot, message)
    }

    /// What the process exits with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind.exit_code())
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StartError {}
