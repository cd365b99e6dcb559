//! A tower service as the engine's app: each request becomes one future, polled at once. Most handlers finish in that first poll
//! and cost no task; the others go on as one.

use std::{
    cell::RefCell,
    fmt,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use tower_service::Service;
use worker_server::{App, Exchange, Last, RequestHead};

use super::{
    Body,
    body::{BodyPump, Pumped, body_of},
    reply,
    request::RequestBuilder,
};
use crate::meter::WorkerMeter;

/// The app that calls `service`.
pub(super) struct HttpApp<S> {
    service: RefCell<S>,
    requests: RequestBuilder,
    meter: WorkerMeter,
}

impl<S> HttpApp<S> {
    pub(super) fn new(service: S, meter: WorkerMeter) -> Self {
        Self { service: RefCell::new(service), requests: RequestBuilder::default(), meter }
    }
}

impl<S, B> App for HttpApp<S>
where
    S: Service<http::Request<Body>, Response = http::Response<B>> + Clone + 'static,
    S::Error: fmt::Display,
    B: http_body::Body + 'static,
    B::Error: fmt::Display,
{
    type Chunk = Bytes;

    fn call(&self, head: &RequestHead<'_>, exchange: Exchange<Bytes>) {
        let (body, pump) = body_of(head.body);
        let Ok(request) = self.requests.build(head, body) else {
            return refuse(&exchange);
        };
        // A clone of its own for each request: a service that is polled ready keeps the place for one call.
        let service = self.service.borrow().clone();
        let failure = Failure {
            method: request.method().clone(),
            target: request.uri().clone(),
            exchange: exchange.clone(),
            meter: self.meter.clone(),
        };
        let answer = Answer { future: Box::pin(answer(service, request, pump, exchange)), failure };
        start(answer);
    }
}

/// Polls the answer once, here and now, and makes a task of it only if it has to wait.
fn start(mut answer: impl Future<Output = ()> + Unpin + 'static) {
    // The task polls it again before anything else, with a waker that counts.
    let mut context = Context::from_waker(Waker::noop());
    if Pin::new(&mut answer).poll(&mut context).is_pending() {
        tokio::task::spawn_local(answer);
    }
}

/// The answer to one request; deals with an application that fails or panics.
struct Answer<F> {
    future: Pin<Box<F>>,
    failure: Failure,
}

impl<F: Future<Output = Result<(), String>>> Future for Answer<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let future = self.future.as_mut();
        // The future is never polled again after a panic, so nobody sees what the panic left half done.
        match catch_unwind(AssertUnwindSafe(|| future.poll(context))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Ok(()))) => {}
            Ok(Poll::Ready(Err(error))) => self.failure.report(&error),
            // The panic hook has printed the message and the place.
            Err(_panic) => self.failure.report("it panicked"),
        }
        Poll::Ready(())
    }
}

/// What is left to do when the application fails.
struct Failure {
    method: http::Method,
    target: http::Uri,
    exchange: Exchange<Bytes>,
    meter: WorkerMeter,
}

impl Failure {
    fn report(&self, error: &str) {
        let Self { method, target, exchange, meter } = self;
        tracing::error!("the application failed in {method} {target}: {error}");
        meter.application_failed();
        exchange.fail();
    }
}

/// Calls the service and sends what it gives back. The error is the application's.
async fn answer<S, B>(
    service: S,
    request: http::Request<Body>,
    pump: BodyPump,
    exchange: Exchange<Bytes>,
) -> Result<(), String>
where
    S: Service<http::Request<Body>, Response = http::Response<B>>,
    S::Error: fmt::Display,
    B: http_body::Body,
    B::Error: fmt::Display,
{
    let is_head = request.method() == http::Method::HEAD;
    let reply = async {
        let response = respond(service, request).await.map_err(|error| error.to_string())?;
        reply::send(response, is_head, &exchange).await
    };
    // None: the client left, and the handler was dropped in the middle, as it is under hyper.
    with_body(&pump, &exchange, reply).await.unwrap_or(Ok(()))
}

async fn respond<S: Service<http::Request<Body>>>(
    mut service: S,
    request: http::Request<Body>,
) -> Result<S::Response, S::Error> {
    poll_fn(|context| service.poll_ready(context)).await?;
    service.call(request).await
}

/// Runs `future` and feeds the request's body to whoever reads it meanwhile. `None` when the client left before it was done.
async fn with_body<T>(
    pump: &BodyPump,
    exchange: &Exchange<Bytes>,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| {
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(context) {
                return Poll::Ready(Some(value));
            }
            if exchange.is_over() {
                return Poll::Ready(None);
            }
            match pump.pump(exchange, context) {
                Pumped::Delivered => {}
                Pumped::Waiting => return Poll::Pending,
                Pumped::Done => {
                    // All that can still come is that the client leaves.
                    exchange.wake_on_receive(context.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    })
    .await
}

fn refuse(exchange: &Exchange<Bytes>) {
    let text: &[u8] = b"the request target or a header cannot be understood\n";
    let headers = [(&b"content-type"[..], &b"text/plain"[..])];
    if exchange.head(400, headers.into_iter()).is_ok() {
        let _client_left = exchange.body(Bytes::from_static(text), Last::Yes);
    }
}
