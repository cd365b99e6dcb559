//! From what somebody wrote (flags, `SUPERVISE_*`, YAML) to settled settings. Reads the configuration file; binds and
//! starts nothing.

pub mod candidates;
pub mod environment;
pub mod file;
pub mod raw;
pub mod settings;
pub mod values;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use nix::unistd::{AccessFlags, access};
use protocol::settings::{
    Application, PythonSettings,
    access_log::{AccessLogDestination, AccessLogSettings},
};

use crate::{
    cli::RunOptions,
    error::{ExitStatus, Expected, ExpectedError},
    listeners::Access,
};
use raw::RawSettings;
use settings::{Settings, Surroundings};

/// The file that is read when nobody names one.
const DEFAULT_FILE: &str = "supervise.yaml";

/// Where settings come from: kept for the whole run, because a reload settles them anew.
#[derive(Debug)]
pub struct Sources {
    flags: RawSettings,
    named_file: Option<PathBuf>,
    surroundings: Surroundings,
}

impl Sources {
    /// Takes the command line and the process's surroundings.
    #[must_use]
    pub fn new(options: RunOptions, surroundings: Surroundings) -> Self {
        Self { flags: options.settings, named_file: options.config, surroundings }
    }

    /// Reads the file again and settles everything.
    ///
    /// # Errors
    /// Whatever is wrong with the file, the environment or the settings; nothing was changed then.
    pub fn settle(&self) -> Expected<Settings> {
        let file = self.read_file()?;
        let file = file.as_ref().map(|(name, text)| (name.as_path(), text.as_str()));
        let (raw, warnings) = layers(self.flags.clone(), &self.surroundings.variables, file)?;
        let mut settings =
            settings::settle(raw, &self.surroundings).map_err(|error| self.with_candidates(error))?;
        settings.remarks.extend(warnings);
        check_paths(&settings)?;
        Ok(settings)
    }

    fn read_file(&self) -> Expected<Option<(PathBuf, String)>> {
        let name = self.named_file.clone().unwrap_or_else(|| DEFAULT_FILE.into());
        match std::fs::read_to_string(self.surroundings.directory.join(&name)) {
            Ok(text) => Ok(Some((name, text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.named_file.is_none() => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let message = format!("the configuration file {} is not there", name.display());
                Err(ExpectedError::new("config/missing", ExitStatus::ConfigMissing, message)
                    .help("flags alone are enough: `supervise --help`"))
            }
            Err(error) => {
                let message = format!("the configuration file {} cannot be read: {error}", name.display());
                let exit = match error.kind() {
                    io::ErrorKind::PermissionDenied => ExitStatus::Permission,
                    _ => ExitStatus::BadConfig,
                };
                Err(ExpectedError::new("config/unreadable", exit, message))
            }
        }
    }

    /// The process's environment.
    #[must_use]
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.surroundings.variables
    }

    /// Applications that are in sight.
    #[must_use]
    pub fn candidates(&self) -> Vec<String> {
        candidates::in_directory(&self.surroundings.directory)
    }

    fn with_candidates(&self, error: ExpectedError) -> ExpectedError {
        match (error.id, self.candidates().as_slice()) {
            ("app/none", candidates @ [_, ..]) => {
                error.help(format!("it may be one of: {}", candidates.join(", ")))
            }
            _ => error,
        }
    }
}

/// Lays flags over environment over file.
///
/// # Errors
/// What is wrong with the file or the environment.
pub fn layers(
    flags: RawSettings,
    variables: &BTreeMap<String, String>,
    file: Option<(&Path, &str)>,
) -> Expected<(RawSettings, Vec<String>)> {
    let file = match file {
        Some((name, text)) => file::parse(name, text)?,
        None => RawSettings::default(),
    };
    for layer in [&flags, &file] {
        refuse_open_secret(layer)?;
    }
    let (environment, warnings) = environment::parse(variables)?;
    Ok((flags.over(environment.over(file)), warnings))
}

/// A password in a command line is in every process list, and one in the configuration in every copy of it.
fn refuse_open_secret(layer: &RawSettings) -> Expected<()> {
    if layer.keyfile_password.is_none() {
        return Ok(());
    }
    let message =
        "a password stands neither in the command line nor in the configuration, where others can read it";
    Err(ExpectedError::new("settings/secret", ExitStatus::Usage, message)
        .help("put it into a file that only supervise can read: --keyfile-password-file FILE")
        .help("or into the environment: SUPERVISE_KEYFILE_PASSWORD"))
}

/// What can be seen to be wrong without starting anything.
fn check_paths(settings: &Settings) -> Expected<()> {
    if !settings.directory.is_dir() {
        return Err(missing("the working directory", &settings.directory));
    }
    Access::find(&settings.unix_socket)?;
    check_access_log(settings.worker.access_log.as_ref())?;
    match &settings.worker.application {
        Application::Welcome => Ok(()),
        Application::Native { program } => check_program(program),
        Application::Python(python) => check_python(python),
        Application::Cgi(cgi) if cgi.path.is_dir() => Ok(()),
        Application::Cgi(cgi) => check_program(&cgi.path),
    }
}

/// Whether the workers will be able to open the file.
fn check_access_log(settings: Option<&AccessLogSettings>) -> Expected<()> {
    let Some(AccessLogSettings { destination: AccessLogDestination::File(path), .. }) = settings else {
        return Ok(());
    };
    let refuse = |exit, what: &str| {
        let message = format!("the access log {} {what}", path.display());
        Err(ExpectedError::new("access-log/file", exit, message))
    };
    if path.is_dir() {
        return refuse(ExitStatus::Usage, "is a directory");
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    if !directory.is_dir() {
        return Err(missing("the directory of the access log", directory));
    }
    let to_write = if path.exists() { path } else { directory };
    match access(to_write, AccessFlags::W_OK) {
        Ok(()) => Ok(()),
        Err(_) => refuse(ExitStatus::Permission, "cannot be written"),
    }
}

fn check_python(python: &PythonSettings) -> Expected<()> {
    let files = [
        ("the interpreter", &python.python),
        ("the env file", &python.env_file),
        ("the log config", &python.log_config),
    ];
    for (what, path) in files {
        if let Some(path) = path.as_deref().filter(|path| !path.is_file()) {
            return Err(missing(what, path));
        }
    }
    if python.app_dir.is_dir() {
        Ok(())
    } else {
        Err(missing("the application's directory", &python.app_dir))
    }
}

fn missing(what: &str, path: &Path) -> ExpectedError {
    let message = format!("{what} {} is not there", path.display());
    ExpectedError::new("settings/missing-path", ExitStatus::Usage, message)
}

fn check_program(program: &Path) -> Expected<()> {
    let wrong = |what: &str| {
        ExpectedError::new("app/program", ExitStatus::AppNotLoaded, format!("{} {what}", program.display()))
    };
    if program.is_dir() {
        return Err(ExpectedError {
            exit: ExitStatus::Usage,
            ..wrong("is a directory: static files are not there yet")
        });
    }
    if !program.exists() {
        let error = wrong("is not there");
        // `src/app.py:app` is what people write who come from a file manager.
        return Err(match program.to_string_lossy().rsplit_once(".py:") {
            Some(_) => error.help("a Python application is written with dots: `package.module:attribute`"),
            None => error,
        });
    }
    match access(program, AccessFlags::X_OK) {
        Ok(()) => Ok(()),
        Err(_) => Err(wrong("cannot be executed").help(format!("`chmod +x {}`", program.display()))),
    }
}
