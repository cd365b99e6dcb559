//! Whether a reload may begin: the configuration is read and settled anew and compared with what runs. Changes nothing.

use crate::{
    config::{
        Sources,
        settings::{Settings, unix_socket::UnixSocketSettings},
        values::FileMode,
    },
    error::ExpectedError,
    generation::Generation,
};

/// The answer.
#[derive(Debug)]
pub enum Decision {
    /// These settings are good, and so are the certificates that they name.
    Go(Box<Generation>),
    /// They are not.
    Refuse {
        /// Why, in one sentence.
        why: String,
        /// The place and what to do, where there is more to say.
        detail: String,
    },
}

/// Reads and settles the configuration again, and proves its certificates.
#[must_use]
pub fn decide(sources: &Sources, running: &Generation) -> Decision {
    match sources.settle() {
        Err(error) => refuse(error),
        Ok(settings) => match needs_restart(&running.settings, &settings).as_slice() {
            [] => match Generation::prepare(settings, Some(running)) {
                Ok(generation) => Decision::Go(Box::new(generation)),
                Err(error) => refuse(error),
            },
            names => {
                let why = format!("a change of {} needs a restart", names.join(", "));
                Decision::Refuse { why, detail: String::new() }
            }
        },
    }
}

fn refuse(error: ExpectedError) -> Decision {
    let has_more = error.place.is_some() || !error.help.is_empty();
    let detail = if has_more { error.to_string() } else { String::new() };
    Decision::Refuse { why: error.message, detail }
}

/// What belongs to the supervisor itself, which a reload does not replace.
fn needs_restart(running: &Settings, new: &Settings) -> Vec<&'static str> {
    let changes = [
        ("bind", running.bind != new.bind),
        ("insecure_bind", running.insecure_bind != new.insecure_bind),
        ("unix_socket_mode, unix_socket_owner or umask", permissions(running) != permissions(new)),
        // Old and new workers accept from the same sockets, and must speak the same there.
        ("TLS on or off", running.tls_files.is_some() != new.tls_files.is_some()),
        ("metrics", running.metrics != new.metrics),
        ("pid", running.pid_file != new.pid_file),
        ("log_level", running.log_level != new.log_level),
        ("log_format", running.log_format != new.log_format),
    ];
    changes.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
}

/// Given once, to sockets and to the process.
fn permissions(settings: &Settings) -> (&UnixSocketSettings, Option<FileMode>) {
    (&settings.unix_socket, settings.umask)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, path::PathBuf};

    use clap::Parser as _;

    use super::{Decision, Generation, decide};
    use crate::{
        cli::Cli,
        config::{
            Sources,
            settings::{StandardOutput, Surroundings},
        },
    };

    /// What a start with `first` as its file says about a reload with `second`.
    fn decided(name: &str, first: &str, second: &str) -> Decision {
        let file: PathBuf =
            std::env::temp_dir().join(format!("supervise-{}-{name}.yaml", std::process::id()));
        let cli = Cli::try_parse_from(["supervise", "-c", &file.to_string_lossy()]).expect("good flags");
        let surroundings = Surroundings {
            variables: BTreeMap::new(),
            directory: std::env::temp_dir(),
            cores: 1,
            stdout: StandardOutput::Elsewhere,
            handed: Vec::new(),
        };
        let sources = Sources::new(cli.run, surroundings);
        fs::write(&file, first).expect("written");
        let running = Generation::prepare(sources.settle().expect("good"), None).expect("good");
        fs::write(&file, second).expect("written");
        let decision = decide(&sources, &running);
        fs::remove_file(&file).expect("there");
        decision
    }

    #[test]
    fn new_settings_of_the_workers_go_through() {
        let decision = decided("workers", "workers: 1\n", "workers: 2\ngraceful_timeout: 5\nenv: {A: b}\n");
        assert!(matches!(decision, Decision::Go(generation) if generation.settings.pool.workers == 2));
    }

    #[test]
    fn what_belongs_to_the_supervisor_needs_a_restart() {
        let decision = decided("bind", "workers: 1\n", "bind: 127.0.0.1:1\npid: x\n");
        assert!(
            matches!(decision, Decision::Refuse { why, .. } if why == "a change of bind, pid needs a restart")
        );
    }

    #[test]
    fn a_mistake_is_shown_with_its_place() {
        let decision = decided("mistake", "workers: 1\n", "wrokers: 1\n");
        assert!(
            matches!(decision, Decision::Refuse { detail, .. } if detail.contains("did you mean `workers`?") && detail.contains(":1:1"))
        );
    }
}
