//! What a supervised worker inherits: the environment variables that name its file descriptors and settings.
//! Names only; adopting the descriptors is the worker's business, passing them the supervisor's.

/// Descriptor of the pipe from which the worker reads [`crate::ToWorker`] lines. End of file on it means that the
/// supervisor died. Its presence is what makes a worker a supervised one.
pub const CONTROL_IN: &str = "SUPERVISE_CONTROL_IN";
/// Descriptor of the pipe to which the worker writes [`crate::FromWorker`] lines.
pub const CONTROL_OUT: &str = "SUPERVISE_CONTROL_OUT";
/// Descriptors of the listening sockets, separated by commas, in the order of the `--bind` options.
pub const LISTENERS: &str = "SUPERVISE_LISTENERS";
/// Descriptor of the scoreboard memfd ([`crate::scoreboard`]).
pub const SCOREBOARD: &str = "SUPERVISE_SCOREBOARD";
/// Index of this worker's record in the scoreboard.
pub const SCOREBOARD_RECORD: &str = "SUPERVISE_SCOREBOARD_RECORD";
/// Descriptor of this worker's evidence memfd ([`crate::evidence`]).
pub const EVIDENCE: &str = "SUPERVISE_EVIDENCE";
/// Descriptor of the memfd with certificates and keys ([`crate::credentials`]); set only where TLS is spoken.
pub const CREDENTIALS: &str = "SUPERVISE_CREDENTIALS";
/// Slot number, from 1, stable over restarts.
pub const SLOT: &str = "SUPERVISE_SLOT";
/// Generation number, from 1: grows with every reload.
pub const GENERATION: &str = "SUPERVISE_GENERATION";
/// [`crate::settings::WorkerSettings`] as one JSON object.
pub const SETTINGS: &str = "SUPERVISE_SETTINGS";

/// All of the above: what must not leak into programs that the application itself starts.
pub const ALL: [&str; 10] = [
    CONTROL_IN,
    CONTROL_OUT,
    LISTENERS,
    SCOREBOARD,
    SCOREBOARD_RECORD,
    EVIDENCE,
    CREDENTIALS,
    SLOT,
    GENERATION,
    SETTINGS,
];
