//! More requests than the app may have at once, and requests that take too long, as HTTP/2 has them: each is a stream's own matter.

use std::{rc::Rc, time::Duration};

use worker_server::{AdmissionLimits, App, Http2Limits, Last, Limits, Taken, TimeLimit};

use super::{
    client::Client,
    frames::*,
    support::{
        Metered,
        apps::{Kept, head, keeper, reply, site},
        http2_limits, limits,
    },
};

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(1);

/// One request with the app, two in the queue for five seconds at most.
fn narrow() -> Limits {
    let admission = AdmissionLimits { concurrent_requests: 1, queued_requests: 2, queue_timeout: 5 * SECOND };
    Limits { admission: Some(admission), ..limits() }
}

fn answer(kept: &Kept) {
    let exchange = kept.borrow_mut().remove(0);
    reply(&exchange, 200, &[], b"done");
}

#[test]
fn streams_wait_in_their_order_and_no_more_than_may() {
    let (kept, app) = keeper();
    let mut client = Client::with_limits(app, narrow());
    for stream in [1, 3, 5, 7] {
        client.send(get(stream, "/"));
    }
    assert_eq!(kept.borrow().len(), 1);
    let refused = client.reply(7);
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("1")));
    assert_eq!(client.rig.ledger.count(&Metered::QueueFull), 1);
    for stream in [1, 3, 5] {
        assert_eq!(client.reply(stream).status, 0);
        answer(&kept);
        client.look();
        assert_eq!(client.reply(stream).text(), "done");
    }
    assert!(kept.borrow().is_empty());
}

#[test]
fn a_stream_whose_turn_does_not_come_in_time_is_refused() {
    let (kept, app) = keeper();
    let mut client = Client::with_limits(app, narrow());
    client.send(get(1, "/")).send(post(3, "/"));
    client.pass(5 * SECOND - MOMENT);
    assert_eq!(client.reply(3).status, 0);
    client.pass(MOMENT);
    let refused = client.reply(3);
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("1")));
    assert_eq!(client.rig.ledger.count(&Metered::TimedOut(TimeLimit::Queue)), 1);
    answer(&kept);
    client.look();
    assert_eq!(client.reply(1).text(), "done");
    // The connection is idle again, and is let go as such.
    client.pass(80 * SECOND);
    assert_eq!(client.goaway(), Some(0));
}

#[test]
fn a_stream_that_is_reset_gives_its_turn_to_the_next() {
    let (kept, app) = keeper();
    let mut client = Client::with_limits(app, narrow());
    client.send(get(1, "/a")).send(get(3, "/b")).send(get(5, "/c"));
    client.send(rst_stream(3, 8));
    answer(&kept);
    client.look();
    answer(&kept);
    client.look();
    assert_eq!(client.reply(5).text(), "done");
    // So does one that is with the app, and so do all of a connection that breaks.
    client.send(get(7, "/")).send(get(9, "/"));
    client.send(rst_stream(7, 8));
    assert_eq!(kept.borrow().iter().filter(|exchange| !exchange.is_over()).count(), 1);
    let (other, app) = keeper();
    let mut sibling = client.rig.sibling(app, Rc::clone(&client.rig.ledger));
    client.send(get(11, "/"));
    sibling.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(other.borrow().is_empty());
    client.rig.drop_connection();
    sibling.run();
    assert_eq!(other.borrow().len(), 1);
}

#[test]
fn a_drain_serves_the_streams_that_wait() {
    let (kept, app) = keeper();
    let mut client = Client::with_limits(app, narrow());
    client.send(get(1, "/")).send(get(3, "/"));
    client.rig.drain.begin(SECOND);
    client.look();
    client.pass(2 * SECOND);
    for stream in [1, 3] {
        answer(&kept);
        client.look();
        assert_eq!(client.reply(stream).text(), "done");
    }
}

#[test]
fn a_request_that_takes_too_long_is_cut_off_and_its_connection_is_not() {
    let (kept, app) = keeper();
    let mut client = Client::with_limits(app, Limits { request_timeout: Some(3 * SECOND), ..limits() });
    client.send(get(1, "/")).send(get(3, "/"));
    let begun = kept.borrow_mut().remove(1);
    head(&begun, 200, &[]).unwrap();
    begun.body(b"abc".to_vec(), Last::No).unwrap();
    client.look();
    client.pass(3 * SECOND - MOMENT);
    assert_eq!(client.reply(1).status, 0);
    client.pass(MOMENT);
    assert_eq!(client.reply(1).status, 503);
    assert_eq!(client.reply(3).text(), "abc");
    assert!(client.reset(3).is_some() && !client.reply(3).is_complete);
    assert!(kept.borrow()[0].is_over() && begun.is_over(), "the app is told");
    assert_eq!(client.rig.ledger.count(&Metered::Overdue(3 * SECOND)), 2);
    client.send(get(5, "/"));
    kept.borrow_mut().remove(0);
    answer(&kept);
    client.look();
    assert_eq!(client.reply(5).text(), "done");
}

#[test]
fn a_body_that_comes_too_slowly_is_cut_off() {
    let (kept, app) = keeper();
    let mut client = Client::with_limits(app, Limits { body_bytes_per_second: Some(10), ..limits() });
    client.send(post(1, "/"));
    let exchange = kept.borrow_mut().remove(0);
    let bell = client.rig.bell_of_app();
    let receive = || {
        while let (Taken::Body { .. }, _) = exchange.receive(<[u8]>::len) {}
        exchange.wake_on_receive(bell.waker());
    };
    // The time in which the app does not receive is not the client's.
    client.pass(1_000 * SECOND);
    receive();
    for _ in 0..4 {
        client.pass(SECOND).send(data(1, 0, b"x"));
        receive();
    }
    client.pass(SECOND - MOMENT);
    assert!(!exchange.is_over());
    client.pass(MOMENT);
    assert_eq!(client.reply(1).status, 408);
    assert_eq!(client.rig.ledger.count(&Metered::TimedOut(TimeLimit::BodyRate)), 1);
}

/// Asks a client that is silent for thirty seconds, and waits for twenty.
fn asking() -> Limits {
    let (ping_interval, ping_timeout) = (Some(30 * SECOND), Some(20 * SECOND));
    Limits { http2: Some(Http2Limits { ping_interval, ping_timeout, ..http2_limits() }), ..limits() }
}

/// The PINGs by which the client was asked; h2 sends others of its own with a GOAWAY.
fn questions<A: App>(client: &Client<A>) -> Vec<&Frame> {
    client.frames.iter().filter(|it| it.kind == PING && !it.has(ACK) && it.payload == b"present?").collect()
}

#[test]
fn a_silent_client_that_answers_a_ping_stays_and_one_that_does_not_is_given_up() {
    let (kept, app) = keeper();
    let mut client = Client::with_limits(app, asking());
    client.send(get(1, "/"));
    client.pass(30 * SECOND - MOMENT);
    assert!(questions(&client).is_empty());
    client.pass(MOMENT);
    let payload = match questions(&client)[..] {
        [question] => question.payload.clone(),
        ref others => panic!("one question: {others:?}"),
    };
    // It answers at the last moment, byte by byte.
    client.pass(20 * SECOND - MOMENT);
    for byte in frame(PING, ACK, 0, &payload) {
        client.send([byte]);
    }
    client.pass(30 * SECOND - MOMENT);
    assert_eq!((questions(&client).len(), client.goaway()), (1, None));
    client.pass(MOMENT);
    assert_eq!(questions(&client).len(), 2);
    client.pass(20 * SECOND - MOMENT);
    assert!(!client.rig.is_closed() && !kept.borrow()[0].is_over());
    client.pass(MOMENT);
    assert!(client.rig.is_closed() && kept.borrow()[0].is_over());
    assert_eq!(client.rig.ledger.count(&Metered::TimedOut(TimeLimit::Ping)), 1);
}

#[test]
fn whatever_is_heard_of_a_client_is_an_answer() {
    let (kept, app) = keeper();
    let mut client = Client::with_limits(app, asking());
    client.send(post(1, "/"));
    for _ in 0..4 {
        client.pass(29 * SECOND).send(data(1, 0, b"x"));
    }
    assert!(questions(&client).is_empty(), "who speaks is not asked");
    client.pass(30 * SECOND).send(window_update(0, 1));
    client.pass(20 * SECOND);
    assert_eq!(questions(&client).len(), 1);
    answer(&kept);
    client.look();
    assert_eq!((client.reply(1).text().as_str(), client.goaway()), ("done", None));
}

#[test]
fn answers_to_pings_keep_no_idle_connection_alive() {
    let mut client = Client::with_limits(site(), asking());
    client.send(get(1, "/"));
    let mut answered = 0;
    for _ in 0..75 {
        assert_eq!(client.goaway(), None);
        client.pass(SECOND);
        let unanswered: Vec<_> =
            questions(&client)[answered..].iter().map(|it| frame(PING, ACK, 0, &it.payload)).collect();
        answered += unanswered.len();
        unanswered.iter().for_each(|it| {
            client.send(it);
        });
    }
    assert_eq!((client.goaway(), answered), (Some(NO_ERROR), 2));
}

#[test]
fn a_client_that_is_told_to_go_is_asked_all_the_same() {
    let (kept, app) = keeper();
    let mut client = Client::with_limits(app, asking());
    client.send(get(1, "/"));
    client.rig.drain.begin(SECOND);
    client.look();
    let told = questions(&client).len();
    client.pass(30 * SECOND);
    assert_eq!(questions(&client).len(), told + 1);
    client.pass(20 * SECOND);
    assert!(client.rig.is_closed() && kept.borrow()[0].is_over(), "a drain need not wait for it");
}
