//! What a worker must be told to run CGI programs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// CGI/1.1 (RFC 3875).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CgiSettings {
    /// A directory of programs, or one program that answers every path.
    pub path: PathBuf,
    /// A program must end after this time.
    pub timeout_ms: u64,
    /// Most programs that run at once in one worker; at least 1.
    pub processes: u32,
    /// Whether programs see the credentials of a request.
    pub authorization: CgiAuthorization,
    /// Added to the environment of every program: name and value.
    pub environment: Vec<(String, String)>,
}

/// Whether programs see the credentials of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CgiAuthorization {
    /// They do not (RFC 3875 §4.1.18 advises it).
    Withheld,
    /// As HTTP_AUTHORIZATION.
    Passed,
}
