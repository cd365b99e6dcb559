//! Settles what is believed of proxies in front.

use protocol::{
    defaults,
    settings::{CommaList, ForwardingSettings, TrustedPeer, check_forwarding},
};

use super::{RawSettings, Surroundings, Switch};
use crate::error::{ExitStatus, Expected, ExpectedError};

/// The variable by which gunicorn and uvicorn are told whom to believe.
const ALLOW_IPS: &str = "FORWARDED_ALLOW_IPS";

/// # Errors
/// Exit 2 for a variable that names no peers, and for header fields that could contradict each other.
pub(super) fn settle(raw: &RawSettings, surroundings: &Surroundings) -> Expected<ForwardingSettings> {
    let usual = defaults::forwarding();
    let settings = ForwardingSettings {
        forwarded_headers: list(raw.forwarded_headers.as_ref(), usual.forwarded_headers),
        secure_scheme_headers: list(raw.secure_scheme_headers.as_ref(), usual.secure_scheme_headers),
        forwarder_headers: list(raw.forwarder_headers.as_ref(), usual.forwarder_headers),
        forwarded_allow_ips: match &raw.forwarded_allow_ips {
            Some(list) => list.0.clone(),
            None => of_environment(surroundings)?.unwrap_or(usual.forwarded_allow_ips),
        },
        proxy_protocol: raw.proxy_protocol.as_ref().map_or(usual.proxy_protocol, |choice| choice.0),
        proxy_allow_ips: list(raw.proxy_allow_ips.as_ref(), usual.proxy_allow_ips),
    };
    check_forwarding(&settings)
        .map_err(|message| ExpectedError::new("settings/forwarded-headers", ExitStatus::Usage, message))?;
    match raw.proxy_headers {
        // Whatever else is said about them.
        Some(Switch::Off) => Ok(ForwardingSettings {
            forwarded_headers: Vec::new(),
            secure_scheme_headers: Vec::new(),
            forwarder_headers: Vec::new(),
            ..settings
        }),
        Some(Switch::On) | None => Ok(settings),
    }
}

fn list<T: Clone>(named: Option<&CommaList<T>>, usual: Vec<T>) -> Vec<T> {
    named.map_or(usual, |list| list.0.clone())
}

fn of_environment(surroundings: &Surroundings) -> Expected<Option<Vec<TrustedPeer>>> {
    // An empty one is nobody, as in gunicorn and uvicorn.
    let Some(text) = surroundings.variables.get(ALLOW_IPS) else { return Ok(None) };
    match text.parse::<CommaList<TrustedPeer>>() {
        Ok(list) => Ok(Some(list.0)),
        Err(error) => {
            Err(ExpectedError::new("environment/value", ExitStatus::Usage, format!("{ALLOW_IPS}: {error}")))
        }
    }
}
