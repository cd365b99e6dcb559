//! The `worker` program: decides what runs in this process (the welcome app), or which program takes its place (an interpreter, a
//! native application), and hands over everything it inherited.

use std::process::ExitCode;

use clap::Parser as _;
use protocol::settings::{Application, CgiSettings, WorkerSettings};

use crate::{
    apps,
    cli::Cli,
    error::{StartError, StartErrorKind},
    farewell,
    inherited_sockets::{self, Inherited},
    listen, logging, native_launch, python_launch, serve,
    settings::{self, Alone},
    tokio_driver,
};

/// Runs the program. Gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let is_guard = std::env::args_os().nth(1).is_some_and(|argument| argument == apps::GUARD_ARGUMENT);
    match (is_guard, inherited_sockets::is_inherited()) {
        (true, _) => apps::run_guard(),
        (false, true) => run_supervised(),
        (false, false) => run_alone(),
    }
}

/// Everything is inherited; nothing is adopted before it is clear who serves.
fn run_supervised() -> ExitCode {
    let launched = inherited_sockets::settings().and_then(|settings| match settings.application {
        Application::Welcome => Ok(serve(apps::welcome())),
        Application::Cgi(cgi) => Ok(serve_cgi(inherited_sockets::adopt()?, cgi)),
        Application::Native { program } => Err(native_launch::exec(&program, &[])),
        Application::Python(python) => Err(python_launch::exec(&python, &[])),
    });
    match launched {
        Ok(exit_code) => exit_code,
        Err(error) => farewell::report_unadopted(&error),
    }
}

fn run_alone() -> ExitCode {
    match start_alone(Cli::parse()) {
        Ok(exit_code) => exit_code,
        Err(error) => {
            farewell::complain(&error);
            error.exit_code()
        }
    }
}

fn start_alone(mut cli: Cli) -> Result<ExitCode, StartError> {
    if let Some(directory) = cli.chdir.take() {
        std::env::set_current_dir(&directory).map_err(|error| {
            StartError::new(StartErrorKind::Usage, format!("--chdir {}: {error}", directory.display()))
        })?;
    }
    let Alone { worker, binds, mut environment } = settings::of_command_line(cli)?;
    let inherited = listen::on(worker, &binds)?;
    inherited_sockets::announce(&inherited.listeners);
    match &inherited.settings.application {
        Application::Welcome => {
            Ok(serve::on(inherited, || std::future::ready(Ok::<_, StartError>(apps::welcome()))))
        }
        Application::Cgi(cgi) => {
            let cgi = cgi.clone();
            Ok(serve_cgi(inherited, cgi))
        }
        Application::Native { program } => {
            environment.extend(bequeath(&inherited)?);
            Err(native_launch::exec(program, &environment))
        }
        Application::Python(python) => {
            environment.extend(bequeath(&inherited)?);
            Err(python_launch::exec(python, &environment))
        }
    }
}

/// Serves CGI on what was inherited or bound already.
fn serve_cgi(inherited: Inherited, cgi: CgiSettings) -> ExitCode {
    logging::start(&inherited.settings);
    let body_bytes = inherited.settings.http.body_bytes;
    let name = format!("CGI {}", cgi.path.display());
    tokio_driver::run(inherited, &name, |meter| std::future::ready(apps::Cgi::new(&cgi, body_bytes, meter)))
}

/// Lets the listening sockets survive an exec, and gives the variables that name them.
fn bequeath(inherited: &Inherited) -> Result<Vec<(String, String)>, StartError> {
    let listeners = inherited_sockets::bequeath(&inherited.listeners)?;
    Ok(vec![
        (protocol::inherited::LISTENERS.to_owned(), listeners),
        (protocol::inherited::SETTINGS.to_owned(), settings_text(&inherited.settings)),
    ])
}

fn settings_text(settings: &WorkerSettings) -> String {
    serde_json::to_string(settings).expect("settings are plain data")
}
