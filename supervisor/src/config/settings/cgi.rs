//! The settings of CGI: defaults, and the refusal of what has no meaning without it.

use std::path::Path;

use protocol::{
    defaults,
    settings::{CgiAuthorization, CgiSettings},
};

use crate::{
    config::{
        raw::RawSettings,
        values::{InterfaceChoice, Switch},
    },
    error::{ExitStatus, Expected, ExpectedError},
};

/// What CGI workers are told; nothing if CGI was not asked for.
///
/// # Errors
/// Exit 2 for CGI without a directory or program, and for an option of CGI without CGI.
pub(super) fn cgi(raw: &RawSettings, directory: &Path) -> Expected<Option<CgiSettings>> {
    if raw.interface != Some(InterfaceChoice::Cgi) {
        return refuse_idle(raw).map(|()| None);
    }
    let Some(path) = raw.app.as_deref().filter(|path| !path.is_empty()) else {
        let message = "--interface cgi needs a directory of programs, or a program";
        return Err(ExpectedError::new("cgi/path", ExitStatus::Usage, message)
            .help("name it: `supervise --interface cgi ./cgi-bin`"));
    };
    Ok(Some(CgiSettings {
        path: directory.join(path).components().collect(),
        timeout_ms: raw.cgi_timeout.map_or(defaults::CGI_TIMEOUT_MS, |time| time.ms),
        processes: raw.cgi_processes.map_or(defaults::CGI_PROCESSES, |count| count.0),
        authorization: match raw.cgi_pass_authorization {
            Some(Switch::On) => CgiAuthorization::Passed,
            Some(Switch::Off) | None => CgiAuthorization::Withheld,
        },
        environment: raw.env.iter().map(|entry| (entry.name.clone(), entry.value.clone())).collect(),
    }))
}

/// No option is accepted and then ignored.
fn refuse_idle(raw: &RawSettings) -> Expected<()> {
    let given = [
        ("cgi-timeout", raw.cgi_timeout.is_some()),
        ("cgi-processes", raw.cgi_processes.is_some()),
        ("cgi-pass-authorization", raw.cgi_pass_authorization.is_some()),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        None => Ok(()),
        Some((name, _)) => {
            let message = format!("--{name} has no meaning without --interface cgi");
            Err(ExpectedError::new("cgi/idle", ExitStatus::Usage, message))
        }
    }
}
