//! How an ASGI application is called, and how a person writes that: `supervise` and `worker` read the same texts.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an ASGI application sees, and is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AsgiSettings {
    /// Version of the specification of HTTP and WebSocket.
    pub spec_version: SpecVersion,
    /// Where the application is mounted: empty, or beginning with a slash and not ending in one.
    pub root_path: String,
    /// What `path` says where there is a root path.
    pub root_path_mode: RootPathMode,
    /// What becomes of a request whose client left.
    pub on_disconnect: OnDisconnect,
    /// Which context variables a request begins with.
    pub context_variables: ContextVariables,
}

/// Version of the specification of HTTP and WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpecVersion {
    /// What is sent to a client that left is dropped without a word, and frameworks watch for its leaving themselves.
    #[serde(rename = "2.3")]
    V2_3,
    /// Sending to a client that left raises an `OSError`, and frameworks trust that.
    #[serde(rename = "2.5")]
    V2_5,
}

impl SpecVersion {
    /// As it stands in the scope.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2_3 => "2.3",
            Self::V2_5 => "2.5",
        }
    }
}

impl FromStr for SpecVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "2.3" => Ok(Self::V2_3),
            "2.5" => Ok(Self::V2_5),
            _ => Err(format!("`{text}` is no version of ASGI that is served: write 2.3 or 2.5")),
        }
    }
}

/// What `path` says where there is a root path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RootPathMode {
    /// The proxy took the root path off: it is put before the path again, as uvicorn does from 0.26 on.
    Prepend,
    /// The path has it already, as it comes from a proxy that passes it on.
    Verbatim,
}

impl FromStr for RootPathMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "prepend" => Ok(Self::Prepend),
            "verbatim" => Ok(Self::Verbatim),
            _ => Err(format!("`{text}` is no mode of the root path: write prepend or verbatim")),
        }
    }
}

/// What becomes of a request whose client left before its reply was complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDisconnect {
    /// Its application hears of it when it receives, and goes on.
    Inform,
    /// Its task is cancelled as well.
    Cancel,
}

/// Which context variables a request begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContextVariables {
    /// Those that were set when the application had started up.
    Inherited,
    /// None.
    Fresh,
}

/// Where an application is mounted, as a person writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootPath(pub String);

impl FromStr for RootPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = text.trim_end_matches('/');
        let is_sound = path.is_empty() || (path.starts_with('/') && !path.starts_with("//"));
        if is_sound && !text.contains(['?', '#']) && !text.chars().any(char::is_control) {
            return Ok(Self(path.to_owned()));
        }
        Err(format!("`{text}` is no root path: write one as `/shop`"))
    }
}

#[cfg(test)]
mod tests {
    use super::RootPath;

    #[test]
    fn a_root_path_begins_with_a_slash_and_ends_in_none() {
        for (text, path) in [("", ""), ("/", ""), ("/shop", "/shop"), ("/shop/", "/shop"), ("/a/b", "/a/b")] {
            assert_eq!(text.parse(), Ok(RootPath(path.to_owned())), "{text}");
        }
        for text in ["shop", "//shop", "/a?b", "/a#b", "/a\nb"] {
            assert!(text.parse::<RootPath>().is_err(), "{text}");
        }
    }
}
