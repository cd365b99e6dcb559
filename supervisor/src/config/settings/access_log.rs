//! Whether there is an access log, where its lines go and how they look.

use protocol::settings::{
    Application,
    access_log::{AccessLogDestination, AccessLogFormat, AccessLogSettings, COMBINED},
};

use super::{RawSettings, StandardOutput, Surroundings};
use crate::{
    config::values::Switch,
    error::{ExitStatus, Expected, ExpectedError},
};

/// gunicorn's name for standard output.
const STDOUT: &str = "-";
/// The logger whose records uvicorn's formatter takes apart.
const UVICORN_LOGGER: &str = "uvicorn.access";

/// Off, unless somebody asks for it by any of its settings or sits in front of the output: then a line of uvicorn's is what they
/// know. `--no-access-log` has the last word.
pub(super) fn settle(
    raw: &RawSettings,
    application: &Application,
    surroundings: &Surroundings,
) -> Expected<Option<AccessLogSettings>> {
    let is_off = raw.access_log == Some(Switch::Off) || raw.no_access_log == Some(Switch::On);
    let is_on = raw.access_log == Some(Switch::On)
        || raw.no_access_log == Some(Switch::Off)
        || raw.access_logfile.is_some()
        || raw.access_logformat.is_some()
        || raw.access_logger.is_some();
    if is_off || !(is_on || surroundings.stdout == StandardOutput::Terminal) {
        return Ok(None);
    }
    let destination = destination(raw, application, surroundings)?;
    let format = match (&raw.access_logformat, &destination) {
        (Some(choice), _) => choice.0.clone(),
        (None, AccessLogDestination::PythonLogger(name)) if name == UVICORN_LOGGER => {
            AccessLogFormat::Uvicorn
        }
        // As gunicorn, whose settings these are.
        (None, AccessLogDestination::PythonLogger(_)) => AccessLogFormat::Template(COMBINED.to_owned()),
        (None, _) if raw.access_logfile.is_some() => AccessLogFormat::Template(COMBINED.to_owned()),
        (None, _) => AccessLogFormat::Uvicorn,
    };
    Ok(Some(AccessLogSettings { destination, format }))
}

fn destination(
    raw: &RawSettings,
    application: &Application,
    surroundings: &Surroundings,
) -> Expected<AccessLogDestination> {
    let refuse =
        |message: String| Err(ExpectedError::new("access-log/destination", ExitStatus::Usage, message));
    match (&raw.access_logger, raw.access_logfile.as_deref()) {
        (Some(_), Some(_)) => refuse(
            "the access log goes to a file or to a logger: leave --access-logfile or --access-logger away"
                .to_owned(),
        ),
        (Some(name), None) => match application {
            Application::Python(_) if !name.is_empty() => {
                Ok(AccessLogDestination::PythonLogger(name.clone()))
            }
            Application::Python(_) => refuse("--access-logger needs the name of a logger".to_owned()),
            Application::Welcome | Application::Native { .. } | Application::Cgi(_) => {
                refuse("--access-logger is for Python applications".to_owned())
            }
        },
        (None, None | Some(STDOUT)) => Ok(AccessLogDestination::Stdout),
        (None, Some("")) => refuse("--access-logfile needs a path, or `-` for standard output".to_owned()),
        (None, Some(path)) => Ok(AccessLogDestination::File(surroundings.directory.join(path))),
    }
}
