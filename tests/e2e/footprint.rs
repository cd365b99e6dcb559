//! Promise: the supervisor costs next to nothing: little memory, and few wake-ups while nothing happens.

use std::time::{Duration, Instant};

use harness::{Machine, Python, processes, wait_until};

use crate::guest;

const MAX_MEMORY_KIB: u64 = 6 * 1024;
const MAX_WAKE_UPS_A_SECOND: f64 = 10.0;
const OBSERVED_FOR: Duration = Duration::from_secs(5);

#[test]
fn an_idle_supervisor_with_four_workers() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let server = guest::plain(&machine, &python, 4).start();
    server.wait_for_ready_workers(4);
    let settled = Instant::now();
    wait_until("the dust of the start to settle", Duration::from_secs(5), || {
        settled.elapsed() > Duration::from_secs(1)
    });
    let before = processes::wake_ups(server.pid()).expect("the supervisor lives");
    let begun = Instant::now();
    wait_until("the time of observation", OBSERVED_FOR * 2, || begun.elapsed() >= OBSERVED_FOR);
    let after = processes::wake_ups(server.pid()).expect("the supervisor lives");
    let rate = (after - before) as f64 / begun.elapsed().as_secs_f64();
    let memory = processes::proportional_memory_kib(server.pid()).expect("the supervisor lives");
    println!("PSS {memory} KiB, {rate:.1} wake-ups a second");
    assert!(memory <= MAX_MEMORY_KIB, "PSS {memory} KiB");
    assert!(rate <= MAX_WAKE_UPS_A_SECOND, "{rate:.1} wake-ups a second");
    server.stop();
}
