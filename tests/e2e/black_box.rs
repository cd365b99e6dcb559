//! Promise: `--record` writes all that happened to a fleet and all that was decided, beside the deciding thread; `supervise replay`
//! shows each decision again, and says so when this version would decide otherwise.

use std::{fs, path::Path, process::Command, time::Duration};

use harness::{
    Machine, Python, Reloaded, TestDirectory, patient,
    processes::{Signal, send_signal},
    product_directory, wait_until,
};

use crate::guest;

/// Exit code and what it printed on stdout and stderr.
fn replay(file: &Path) -> (Option<i32>, String, String) {
    let output = Command::new(product_directory().join("supervise"))
        .arg("replay")
        .arg(file)
        .output()
        .expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_run_with_a_crash_a_reload_and_a_scaling_replays_decision_by_decision() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let kept = TestDirectory::new();
    let file = kept.join("run.txt");
    fs::write(&file, "an older run\n").expect("written");
    let server =
        guest::plain(&machine, &python, 2).arguments(["--record", &file.display().to_string()]).start();
    // Counted against nobody: it has served for a second.
    wait_until("a heartbeat of each", patient(Duration::from_secs(20)), || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        ["heartbeat 1 ", "heartbeat 2 "].iter().all(|line| text.contains(line))
    });
    send_signal(guest::pids(&server)[0], Signal::SIGKILL);
    server.wait_for_metric("supervise_worker_restarts_total", &[], 1.0, patient(Duration::from_secs(20)));
    server.wait_for_ready_workers(2);
    assert_eq!(server.reload(), Reloaded::Ok);
    server.signal(Signal::SIGTTIN);
    server.wait_for_ready_workers(3);
    server.stop();

    let recorded = fs::read_to_string(&file).expect("the recording");
    for told in
        ["signal 9", "after signal", "reload to generation 2 done", "scaled from 2 to 3", "finish: stopped"]
    {
        assert!(recorded.contains(told), "{told}:\n{recorded}");
    }
    let older = fs::read_to_string(kept.join("run.txt.old")).expect("the older run is kept");
    assert_eq!(older, "an older run\n");

    let (code, played, errors) = replay(&file);
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{played}");
    assert_eq!(played, recorded);

    // Decided otherwise: the first difference is named.
    fs::write(&file, recorded.replace("scaled from 2 to 3", "scaled from 2 to 4")).expect("written");
    let (code, _, errors) = replay(&file);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("scaled from 2 to 4") && errors.contains("scaled from 2 to 3"), "{errors}");

    // Cut off in the middle of a line, as a killed supervisor leaves it: what is there is played.
    fs::write(&file, &recorded[..recorded.len() / 2]).expect("written");
    let (code, played, errors) = replay(&file);
    assert_eq!(code, Some(0), "{errors}");
    assert!(played.lines().count() > 5);
}

#[test]
fn what_is_no_recording_is_refused_with_its_line() {
    let _machine = Machine::shared();
    let directory = TestDirectory::new();
    let file = directory.join("run.txt");
    let (code, _, errors) = replay(&file);
    assert_eq!(code, Some(66), "{errors}");
    assert!(errors.contains("run.txt cannot be read"), "{errors}");
    fs::write(&file, "settings workers=2\n\n0 start\n5 dances 1\n").expect("written");
    let (code, _, errors) = replay(&file);
    assert_eq!(code, Some(78), "{errors}");
    assert!(errors.contains("line 4") && errors.contains("dances"), "{errors}");
}

#[test]
fn a_place_that_cannot_be_written_is_refused_before_a_worker_starts() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let kept = TestDirectory::new();
    let file = kept.join("missing/run.txt");
    let server = guest::plain(&machine, &python, 1).arguments(["--record", &file.display().to_string()]);
    let mut server = server.spawn();
    let status = server.wait_for_exit(patient(Duration::from_secs(20)));
    let log = server.log.text();
    assert_eq!(status.code(), Some(71), "{log}");
    assert!(log.contains("missing/run.txt cannot be written") && !log.contains("is ready"), "{log}");
}
