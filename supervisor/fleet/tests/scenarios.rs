//! Runs the readable transcripts in `tests/scenarios/*.txt`: what happens stands at the left, what the fleet orders stands
//! under it after an arrow. The whole text is compared. `SUPERVISE_BLESS=1 cargo test -p supervisor-fleet --test
//! scenarios` writes what the fleet orders now; read the difference before you keep it.

#![expect(
    clippy::disallowed_methods,
    reason = "transcripts are files, and blessing is asked for in the environment"
)]

use std::{env, fs, path::PathBuf};

use supervisor_fleet::transcript;

/// The promises that must have a transcript, by name.
const PROMISED: [&str; 39] = [
    "boot_times_out",
    "channel_broken",
    "crash_at_once",
    "crash_loop",
    "drain_overruns",
    "exit_zero_unasked",
    "first_boot",
    "first_boot_fails",
    "first_boot_never_spawned",
    "hang",
    "kill_minus_nine_again_and_again",
    "leaves_by_itself",
    "old_worker_dies_in_reload",
    "out_of_memory",
    "quick_stop_shortens_grace",
    "quick_stop_twice",
    "recycle_in_reload",
    "recycle_lifetime",
    "recycle_memory",
    "recycle_requests",
    "reload_boot_fails",
    "reload_crashes_on_arrival",
    "reload_handed_back",
    "reload_ok",
    "reload_storm",
    "reload_superseded",
    "replace_me",
    "scale_down_keeps_who_serves",
    "scale_survives_reload",
    "scale_up_down",
    "shutdown_delay",
    "shutdown_delay_cut_short",
    "shutdown_delay_nobody_serves",
    "shutdown_delay_not_for_int",
    "shutdown_delay_over_a_stall",
    "spawn_failed",
    "stall",
    "stop_unkillable",
    "term_during_reload",
];

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

#[test]
fn every_transcript_is_what_the_fleet_does() {
    let bless = env::var_os("SUPERVISE_BLESS").is_some();
    let mut differing = Vec::new();
    let mut names = Vec::new();
    for entry in fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let written = fs::read_to_string(&path).unwrap();
        let played = transcript::play(&written).unwrap_or_else(|error| panic!("{name}.txt: {error}"));
        let sound = !played.contains(transcript::ALARM) && !played.contains("INVARIANT BROKEN");
        assert!(sound, "{name}.txt:\n{played}");
        assert!(played.contains("→"), "{name}.txt: nothing is ordered in it, so it proves nothing");
        if bless {
            fs::write(&path, played).unwrap();
        } else if let Some(difference) = first_difference(&written, &played) {
            differing.push(format!("{name}.txt {difference}"));
        }
        names.push(name);
    }
    assert!(differing.is_empty(), "SUPERVISE_BLESS=1 accepts these:\n{}", differing.join("\n"));
    names.sort();
    assert_eq!(names, PROMISED, "a promise lost its transcript, or a new one is not in the list");
}

fn first_difference(written: &str, played: &str) -> Option<String> {
    let (written, played): (Vec<_>, Vec<_>) = (written.lines().collect(), played.lines().collect());
    let length = written.len().max(played.len());
    (0..length).find(|&line| written.get(line) != played.get(line)).map(|line| {
        let nothing = "(nothing)";
        let (expected, actual) =
            (written.get(line).copied().unwrap_or(nothing), played.get(line).copied().unwrap_or(nothing));
        format!("line {}:\n    written {expected}\n    played  {actual}", line + 1)
    })
}
