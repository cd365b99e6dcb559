//! Promise: a worker that dies less than a second after it was ready, for ever, neither eats the machine nor touches its siblings.

use std::time::{Duration, Instant};

use harness::{
    Guest, Machine, Python, http, observe_for,
    processes::{Signal, send_signal},
};

/// Any window of this length sees at most so many starts.
const WINDOW: Duration = Duration::from_secs(60);
const MAX_STARTS: usize = 12;

#[test]
fn a_crash_loop_backs_off_and_leaves_its_siblings_alone() {
    let machine = Machine::beside_others();
    let Some(python) = Python::default_one() else { return };
    let server = machine
        .server()
        .guest(Guest::DIES_AFTER_READY, &python)
        .arguments(["--worker-class", "async", "--workers", "2", "app:app"])
        .start();
    let sibling = server.workers().into_iter().find(|worker| worker.slot == 1).expect("a worker in slot 1");
    let victim = server.workers().into_iter().find(|worker| worker.slot == 2).expect("a worker in slot 2");
    server.write_file("survivor", &sibling.pid.to_string());
    send_signal(victim.pid, Signal::SIGKILL);

    // Every start in the slot is counted. The back-off only grows, so the first window is the fullest.
    let begun = Instant::now();
    let before = server.metrics().sum("supervise_worker_starts_total", &[]);
    let mut starts = Vec::new();
    let mut served = 0;
    observe_for(WINDOW, || {
        let so_far = server.metrics().sum("supervise_worker_starts_total", &[]) - before;
        starts.resize(so_far as usize, begun.elapsed());
        // A request that the dying worker had accepted may die with it, nothing else.
        served += u32::from(http::get(server.address(), "/").is_ok_and(|answer| answer.status == 200));
    });
    println!("starts after {starts:?}; {served} requests served meanwhile");
    assert!((3..=MAX_STARTS).contains(&starts.len()), "{} starts: {starts:?}", starts.len());
    assert_eq!(server.restarts("crash") + server.restarts("signal"), server.restarts(""));
    assert!(server.restarts("crash") >= 2.0, "counted by their reason");
    assert!(served > 100, "{served}");
    let now = server.workers().into_iter().find(|worker| worker.slot == 1);
    assert_eq!(now, Some(sibling), "the sibling is the same process");
    server.stop();
}
