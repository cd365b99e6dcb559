//! Promise: processes that an application leaves without a parent become the supervisor's, which reaps them: no zombie stays.

use std::time::Duration;

use harness::{Machine, Python, http, processes::children_of, wait_until};

use crate::guest;

#[test]
fn what_an_application_leaves_behind_is_reaped() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let server = guest::plain(&machine, &python, 2).start();
    assert_eq!(http::get(server.address(), "/orphans?count=20").expect("an answer").status, 200);
    wait_until("the end of every orphan", Duration::from_secs(10), || {
        let children = children_of(server.pid());
        children.len() == 2 && children.iter().all(|child| !child.is_zombie())
    });
    assert_eq!(server.restarts(""), 0.0, "a stranger's exit is nobody's crash");
    server.stop();
}
