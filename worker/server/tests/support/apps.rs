//! Apps for the box: one that a test scripts, and a site of small behaviours by path.

#![allow(clippy::unwrap_used, reason = "a test that breaks its own rules may panic")]

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use worker_server::{App, Exchange, Last, ReplyError, RequestHead, Room, Taken};

/// An app that is a function.
pub struct Script<F>(pub F);

impl<F: Fn(&RequestHead<'_>, Exchange<Vec<u8>>) + 'static> App for Script<F> {
    type Chunk = Vec<u8>;

    fn call(&self, head: &RequestHead<'_>, exchange: Exchange<Vec<u8>>) {
        (self.0)(head, exchange);
    }
}

/// Replies in one piece.
pub fn reply(exchange: &Exchange<Vec<u8>>, status: u16, fields: &[(&str, &str)], body: &[u8]) {
    head(exchange, status, fields).unwrap();
    exchange.body(body.to_vec(), Last::Yes).unwrap();
}

pub fn head(exchange: &Exchange<Vec<u8>>, status: u16, fields: &[(&str, &str)]) -> Result<(), ReplyError> {
    exchange.head(status, fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

/// Exchanges that an app has laid aside for the test to go on with.
pub type Kept = Rc<RefCell<Vec<Exchange<Vec<u8>>>>>;

/// An app that does nothing but keep its exchanges.
pub fn keeper() -> (Kept, impl App<Chunk = Vec<u8>>) {
    let kept = Kept::default();
    let keep = Rc::clone(&kept);
    (kept, Script(move |_: &RequestHead<'_>, exchange| keep.borrow_mut().push(exchange)))
}

/// A line that says all there is to a request's head.
pub fn describe(head: &RequestHead<'_>) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let headers: Vec<String> =
        head.headers.iter().map(|it| format!("{}={}", text(it.name), text(it.value))).collect();
    format!(
        "{} {} ?{} {:?} {:?} [{}]",
        text(head.method),
        text(head.path),
        text(head.query),
        head.version,
        head.body,
        headers.join(";")
    )
}

/// Receives the whole body in the course of time, then calls `then` with it.
struct Collect<F: FnOnce(&Exchange<Vec<u8>>, Vec<u8>)> {
    exchange: Exchange<Vec<u8>>,
    body: Vec<u8>,
    then: Option<F>,
}

impl<F: FnOnce(&Exchange<Vec<u8>>, Vec<u8>) + Unpin> Future for Collect<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let this = &mut *self;
            match this.exchange.receive(|bytes| this.body.extend_from_slice(bytes)).0 {
                Taken::Body { more: true } => {}
                Taken::Body { more: false } => {
                    if let Some(then) = this.then.take() {
                        then(&this.exchange, std::mem::take(&mut this.body));
                    }
                    return Poll::Ready(());
                }
                Taken::Pending => {
                    this.exchange.wake_on_receive(context.waker().clone());
                    return Poll::Pending;
                }
                Taken::Disconnected => return Poll::Ready(()),
            }
        }
    }
}

/// Runs a future on its own wakes, at once, in whoever's turn they come: as re-entrant as an app can be.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    type Task = Pin<Box<dyn Future<Output = ()>>>;
    thread_local! {
        static TASKS: RefCell<Vec<Option<Task>>> = const { RefCell::new(Vec::new()) };
    }
    struct TaskWaker(usize);
    impl Wake for TaskWaker {
        fn wake(self: Arc<Self>) {
            run(self.0);
        }
    }
    fn run(index: usize) {
        let Some(mut task) = TASKS.with_borrow_mut(|tasks| tasks[index].take()) else { return };
        let waker = Waker::from(Arc::new(TaskWaker(index)));
        if task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            TASKS.with_borrow_mut(|tasks| tasks[index] = Some(task));
        }
    }
    let index = TASKS.with_borrow_mut(|tasks| {
        tasks.push(Some(Box::pin(future)));
        tasks.len() - 1
    });
    run(index);
}

/// Calls `then` when the whole body is there.
pub fn collect(
    exchange: Exchange<Vec<u8>>,
    then: impl FnOnce(&Exchange<Vec<u8>>, Vec<u8>) + Unpin + 'static,
) {
    spawn(Collect { exchange, body: Vec::new(), then: Some(then) });
}

/// An app that shows what it was given, head and body.
pub fn describing() -> impl App<Chunk = Vec<u8>> {
    Script(|head: &RequestHead<'_>, exchange: Exchange<Vec<u8>>| {
        let described = describe(head);
        collect(exchange, move |exchange, body| {
            let text = format!("{described} {}", body.escape_ascii());
            reply(exchange, 200, &[], text.trim_end().as_bytes());
        });
    })
}

/// The site: what each path does is its name.
pub fn site() -> impl App<Chunk = Vec<u8>> {
    Script(|head: &RequestHead<'_>, exchange: Exchange<Vec<u8>>| {
        let described = describe(head);
        match head.path {
            b"/head" => reply(&exchange, 200, &[], described.as_bytes()),
            b"/echo" => collect(exchange, |exchange, body| reply(exchange, 200, &[], &body)),
            b"/describe" => collect(exchange, move |exchange, body| {
                let text = format!("{described} {}", body.escape_ascii());
                reply(exchange, 200, &[], text.as_bytes());
            }),
            b"/stream" => {
                head_then_parts(&exchange, &[("x-a", "b")], &[b"one", b"", b"three"]);
            }
            b"/length" => head_then_parts(&exchange, &[("Content-Length", "8")], &[b"one", b"three"]),
            b"/unread" => reply(&exchange, 200, &[], b"unread"),
            b"/framing" => reply(
                &exchange,
                200,
                &[
                    ("Transfer-Encoding", "chunked"),
                    ("Content-Length", "2"),
                    ("Date", "today"),
                    ("SERVER", "me"),
                ],
                b"ok",
            ),
            b"/close" => reply(&exchange, 200, &[("Connection", "close")], b"bye"),
            b"/204" => reply(&exchange, 204, &[("content-length", "3")], b"abc"),
            b"/205" => reply(&exchange, 205, &[], b"abc"),
            b"/304" => reply(&exchange, 304, &[("content-length", "3")], b"abc"),
            b"/999" => reply(&exchange, 999, &[], b"odd"),
            b"/drop" => {}
            b"/drop-after-head" => head_only(&exchange),
            b"/drop-in-body" => {
                head_only(&exchange);
                assert_eq!(exchange.body(b"part".to_vec(), Last::No), Ok(Room::Free));
            }
            b"/short" => {
                self::head(&exchange, 200, &[("content-length", "9")]).unwrap();
                assert_eq!(exchange.body(b"part".to_vec(), Last::Yes), Err(ReplyError::TooShort));
            }
            b"/short-in-body" => {
                self::head(&exchange, 200, &[("content-length", "9")]).unwrap();
                assert_eq!(exchange.body(b"part".to_vec(), Last::No), Ok(Room::Free));
                assert_eq!(exchange.body(b"part".to_vec(), Last::Yes), Err(ReplyError::TooShort));
            }
            b"/long" => {
                self::head(&exchange, 200, &[("content-length", "2")]).unwrap();
                assert_eq!(exchange.body(b"part".to_vec(), Last::Yes), Err(ReplyError::TooLong));
                assert_eq!(exchange.body(b"ok".to_vec(), Last::Yes), Ok(Room::Free));
            }
            _ => reply(&exchange, 200, &[("content-type", "text/plain")], b"hello"),
        }
    })
}

fn head_only(exchange: &Exchange<Vec<u8>>) {
    head(exchange, 200, &[]).unwrap();
}

fn head_then_parts(exchange: &Exchange<Vec<u8>>, fields: &[(&str, &str)], parts: &[&[u8]]) {
    head(exchange, 200, fields).unwrap();
    for (index, part) in parts.iter().enumerate() {
        let last = if index + 1 == parts.len() { Last::Yes } else { Last::No };
        exchange.body(part.to_vec(), last).unwrap();
    }
}
