//! Precedence, defaults and refusals of the settled settings.

use std::{collections::BTreeMap, path::PathBuf};

use clap::Parser as _;
use protocol::settings::{Application, Factory};
use supervisor_fleet::RecyclingSettings;

use super::{MetricsSetting, Settings, StandardOutput, Surroundings, settle};
use crate::{
    cli::Cli,
    config::layers,
    error::{ExitStatus, Expected},
};

fn settled(flags: &[&str], variables: &[(&str, &str)], yaml: &str) -> Expected<Settings> {
    let cli =
        Cli::try_parse_from(std::iter::once("supervise").chain(flags.iter().copied())).expect("good flags");
    let variables: BTreeMap<String, String> =
        variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let surroundings = Surroundings {
        variables,
        directory: PathBuf::from("/srv"),
        cores: 3,
        stdout: StandardOutput::Elsewhere,
        handed: Vec::new(),
    };
    let (raw, _) = layers(
        cli.run.settings,
        &surroundings.variables,
        Some((PathBuf::from("supervise.yaml").as_path(), yaml)),
    )?;
    settle(raw, &surroundings)
}

fn binds(settings: &Settings) -> Vec<String> {
    settings.bind.iter().map(ToString::to_string).collect()
}

#[test]
fn without_a_word_the_welcome_app_is_served_on_loopback() {
    let settings = settled(&[], &[], "").expect("good");
    assert_eq!(settings.worker.application, Application::Welcome);
    assert_eq!(binds(&settings), ["127.0.0.1:8000"]);
    assert_eq!(settings.pool.workers, 1);
    assert_eq!(settings.worker.heartbeat_interval_ms, 1000);
    assert!(matches!(settings.metrics, MetricsSetting::Default(_)));
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let file = "workers: 2\n";
    let general = [("WEB_CONCURRENCY", "5")];
    let ours = [("WEB_CONCURRENCY", "5"), ("SUPERVISE_WORKERS", "3")];
    let workers = |settings: Expected<Settings>| settings.expect("good").pool.workers;
    assert_eq!(workers(settled(&["m:a"], &[], "")), 1);
    assert_eq!(workers(settled(&["m:a"], &general, "")), 5);
    assert_eq!(workers(settled(&["m:a"], &general, file)), 2);
    assert_eq!(workers(settled(&["m:a"], &ours, file)), 3);
    assert_eq!(workers(settled(&["m:a", "-w", "4"], &ours, file)), 4);
    assert_eq!(workers(settled(&["m:a", "-w", "auto"], &ours, file)), 3);
}

#[test]
fn one_spelling_of_the_address_replaces_the_others() {
    let file = "bind: unix:/run/a.sock\n";
    let bound =
        |flags: &[&str], variables: &[(&str, &str)]| binds(&settled(flags, variables, file).expect("good"));
    assert_eq!(bound(&["m:a"], &[("PORT", "9")]), ["unix:/run/a.sock"]);
    assert_eq!(bound(&["m:a", "--port", "81"], &[]), ["127.0.0.1:81"]);
    assert_eq!(bound(&["m:a", "-b", "[::1]:0", "-b", ":80"], &[]), ["[::1]:0", "0.0.0.0:80"]);
    assert_eq!(binds(&settled(&["m:a"], &[("PORT", "9")], "").expect("good")), ["0.0.0.0:9"]);
    assert_eq!(settled(&["m:a"], &[("PORT", "x")], "").expect_err("no port").exit, ExitStatus::Usage);
}

#[test]
fn the_welcome_app_is_not_served_to_strangers_by_accident() {
    for (flags, variables) in [(&["-b", "0.0.0.0:1"][..], &[][..]), (&[], &[("PORT", "80")])] {
        let error = settled(flags, variables, "").expect_err("must be refused");
        assert_eq!((error.id, error.exit), ("app/none", ExitStatus::Usage));
        let asked: Vec<_> = flags.iter().copied().chain(["--welcome"]).collect();
        settled(&asked, variables, "").expect("asked for");
    }
    settled(&["-b", "[::1]:1", "-b", "localhost:2", "-b", "unix:/x"], &[], "").expect("loopback");
}

#[test]
fn applications_are_told_apart_by_their_form() {
    let application = |app: &str| settled(&[app], &[], "").map(|settings| settings.worker.application);
    assert!(
        matches!(application("m.n:app"), Ok(Application::Python(python)) if python.app_dir.as_os_str() == "/srv")
    );
    assert!(
        matches!(application("./server"), Ok(Application::Native { program }) if program.ends_with("server"))
    );
    assert!(application("myapp").expect_err("no attribute").to_string().contains("supervise myapp:app"));
    assert!(application("status").expect_err("not yet").to_string().contains("not there yet"));
    let python = settled(&["m:f", "--factory", "--chdir", "sub", "--app-dir", "src"], &[], "").expect("good");
    let Application::Python(python) = python.worker.application else { unreachable!("a Python application") };
    assert_eq!((python.factory, python.app_dir), (Factory::Call, PathBuf::from("/srv/sub/src")));
}

#[test]
fn environment_entries_add_up_and_the_flag_wins() {
    let settings = settled(&["m:a", "-e", "A=flag"], &[], "env: {A: file, B: file}\n").expect("good");
    let entries: Vec<_> =
        settings.environment.iter().map(|entry| format!("{}={}", entry.name, entry.value)).collect();
    assert_eq!(entries, ["A=file", "B=file", "A=flag"]);
}

#[test]
fn a_short_timeout_makes_a_fast_heartbeat() {
    assert_eq!(settled(&["m:a", "-t", "1.5"], &[], "").expect("good").worker.heartbeat_interval_ms, 500);
}

#[test]
fn bounds_are_settled_and_idle_ones_refused() {
    let http = |flags: &[&str]| settled(flags, &[], "").map(|settings| settings.worker.http);
    let usual = http(&["m:a"]).expect("good");
    assert_eq!((usual.concurrent_requests, usual.request_timeout_ms, usual.connections), (0, 0, 10_000));
    let narrow = ["m:a", "--limit-concurrency=8", "--limit-queue=0", "--queue-timeout=500ms"];
    let narrow = http(&narrow).expect("good");
    let bounds = (narrow.concurrent_requests, narrow.queued_requests, narrow.queue_timeout_ms);
    assert_eq!(bounds, (8, 0, 500));
    assert_eq!(http(&["m:a", "--request-timeout=2m"]).expect("good").request_timeout_ms, 120_000);
    assert_eq!(http(&["m:a", "--min-body-rate=0"]).expect("good").body_bytes_per_second, 0);
    let idle = [
        &["m:a", "--limit-queue=5"][..],
        &["m:a", "--queue-timeout=5"],
        &["m:a", "--interface=wsgi", "--ws-max-size=1MiB"],
        &["m:a", "--worker-class=threads", "--ws=none"],
    ];
    for flags in idle {
        assert_eq!(http(flags).expect_err("idle").id, "settings/idle", "{flags:?}");
    }
}

#[test]
fn the_defaults_that_the_help_names_are_the_true_ones() {
    use clap::Args as _;
    let command = crate::config::raw::RawSettings::augment_args(clap::Command::new("supervise"));
    // The queue's defaults have a meaning only where requests wait.
    let needed_by_queue = ["m:a", "--limit-concurrency=9"];
    let mut flags = needed_by_queue.map(str::to_owned).to_vec();
    let mut flags_of_cgi = vec!["/".to_owned(), "--interface=cgi".to_owned()];
    let mut flags_of_tls = ["m:a", "--certfile=/c.pem", "--keyfile=/k.pem"].map(str::to_owned).to_vec();
    for argument in command.get_arguments() {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let Some((_, default)) = help.split_once("[default: ") else { continue };
        // `[default: 1, or WEB_CONCURRENCY]`; a list has commas without a space.
        let default = default.split(']').next().and_then(|it| it.split(", ").next()).unwrap_or_default();
        // Words describe a default that depends on the surroundings.
        if !default.contains([' ', '$']) {
            let flag = format!("--{}={default}", argument.get_long().expect("a flag"));
            match argument.get_help_heading() {
                Some("CGI") => flags_of_cgi.push(flag),
                Some("TLS") => flags_of_tls.push(flag),
                _ => flags.push(flag),
            }
        }
    }
    assert!(flags.len() > 15, "{flags:?}");
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut named = settled(&flags, &[], "").expect("the defaults are good");
    let MetricsSetting::Explicit(metrics) = named.metrics else {
        unreachable!("the help names the metrics address")
    };
    named.metrics = MetricsSetting::Default(metrics);
    assert_eq!(named, settled(&needed_by_queue, &[], "").expect("good"));
    for (flags, needed) in [(flags_of_cgi, 2), (flags_of_tls, 3)] {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        assert!(flags.len() > needed + 2, "{flags:?}");
        assert_eq!(
            settled(&flags, &[], "").expect("good"),
            settled(&flags[..needed], &[], "").expect("good")
        );
    }
}

#[test]
fn permissions_of_unix_sockets() {
    let mode =
        |flags: &[&str], yaml: &str| settled(flags, &[], yaml).map(|settings| settings.unix_socket.mode.0);
    let bound = "bind: unix:/run/a.sock\n";
    assert_eq!(mode(&["m:a"], bound), Ok(0o666));
    assert_eq!(mode(&["m:a", "-m", "007"], bound), Ok(0o660));
    assert_eq!(mode(&["m:a"], &format!("{bound}umask: 0027\n")), Ok(0o640));
    assert_eq!(mode(&["m:a", "-m", "077"], &format!("{bound}unix_socket_mode: \"0o600\"\n")), Ok(0o600));
    // YAML makes a number of it, which could have been meant in decimal.
    let refused = mode(&["m:a"], &format!("{bound}unix_socket_mode: 0o660\n")).expect_err("no text");
    assert!(refused.message.contains("within quotes"), "{refused}");
    assert_eq!(mode(&["m:a", "--unix-socket-mode", "0600"], "").expect_err("no socket").id, "settings/idle");
}

#[test]
fn recycling_is_off_unless_asked_for_and_idle_or_contradictory_bounds_are_refused() {
    let recycling =
        |flags: &[&str], yaml: &str| settled(flags, &[], yaml).map(|settings| settings.pool.recycling);
    assert_eq!(recycling(&[], "").expect("good"), RecyclingSettings::default());
    assert_eq!(
        recycling(&["--max-requests", "0"], "").expect("gunicorn's off"),
        RecyclingSettings::default()
    );
    let yaml = "max_requests: 1000\nmax_requests_jitter: 50\nmax_lifetime: 1h\nmax_memory: 300MiB\n";
    assert_eq!(
        recycling(&["--max-memory-hard", "1GiB", "--max-requests", "7"], yaml).expect("good"),
        RecyclingSettings {
            max_requests: Some(7),
            max_requests_jitter: 50,
            max_lifetime_ms: Some(3_600_000),
            max_lifetime_jitter_ms: 0,
            max_memory_bytes: Some(300 << 20),
            max_memory_hard_bytes: Some(1 << 30),
        }
    );
    for (flags, named) in [
        (["--max-requests-jitter", "5"].as_slice(), "--max-requests"),
        (&["--max-lifetime-jitter", "5s"], "--max-lifetime"),
        (&["--max-lifetime", "999ms"], "too short"),
        (&["--max-memory", "2GiB", "--max-memory-hard", "2GiB"], "--max-memory-hard"),
    ] {
        let error = recycling(flags, "").expect_err("refused");
        assert_eq!(error.exit, ExitStatus::Usage);
        assert!(error.message.contains(named), "{error}");
    }
}
