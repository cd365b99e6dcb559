//! Promise: TTIN and TTOU add and remove one worker, lose nothing, and survive a reload.

use std::time::Duration;

use harness::{Machine, Python, Reloaded, load::Load, processes::Signal, wait_until};

use crate::guest;

#[test]
fn workers_come_and_go_without_a_lost_request() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let server = guest::plain(&machine, &python, 1).start();
    let workers = |count: usize| {
        let what = format!("{count} workers");
        wait_until(&what, Duration::from_secs(15), || {
            server.workers().len() == count && server.ready_workers() == count as f64
        });
    };
    let load = Load { concurrency: 16, ..Load::new(server.address()) }.start();
    load.wait_for_answers(100);
    server.signal(Signal::SIGTTIN);
    workers(2);
    server.signal(Signal::SIGTTIN);
    workers(3);
    load.wait_for_answers(100);
    assert_eq!(server.reload(), Reloaded::Ok);
    workers(3);
    for left in [2, 1] {
        server.signal(Signal::SIGTTOU);
        workers(left);
        load.wait_for_answers(100);
    }
    // Never below one.
    server.signal(Signal::SIGTTOU);
    load.wait_for_answers(200);
    workers(1);
    let report = load.stop();
    report.assert_nothing_lost(500);
    assert_eq!(server.restarts(""), 0.0, "scaling is no restart");
    server.stop();
}
