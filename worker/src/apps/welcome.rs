//! The welcome app: what is served when no application is named. A page that says what to do next, and `/healthz`. Served as any
//! other tower service, so that it proves the road that users take.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use tower_service::Service;

use crate::Body;

const PAGE: &str = include_str!("welcome/page.html");

/// The welcome app.
#[derive(Debug, Clone, Copy)]
pub struct Welcome;

/// The welcome app, for [`crate::serve`].
#[must_use]
pub fn welcome() -> Welcome {
    Welcome
}

impl Service<Request<Body>> for Welcome {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Full<Bytes>>, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        ready(Ok(answer(request.method(), request.uri().path())))
    }
}

fn answer(method: &Method, path: &str) -> Response<Full<Bytes>> {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    match path {
        "/" | "/healthz" if !is_read => {
            let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
        "/" => respond(StatusCode::OK, HTML, PAGE),
        "/healthz" => respond(StatusCode::OK, TEXT, "ok\n"),
        _ => respond(StatusCode::NOT_FOUND, TEXT, "nothing here; the page is at /\n"),
    }
}

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

fn respond(status: StatusCode, content_type: &'static str, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
