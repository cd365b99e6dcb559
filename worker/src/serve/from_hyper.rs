//! Lets a hyper service be served like a tower one: the two traits say the same in other words.

use std::task::{Context, Poll};

use http::Request;

use super::Body;

/// A hyper service as a tower service; made by [`from_hyper`].
#[derive(Debug, Clone)]
pub struct FromHyper<S>(S);

/// Makes a hyper service, `hyper::service::service_fn` for one, fit for [`crate::serve`].
pub fn from_hyper<S: hyper::service::Service<Request<Body>>>(service: S) -> FromHyper<S> {
    FromHyper(service)
}

impl<S: hyper::service::Service<Request<Body>>> tower_service::Service<Request<Body>> for FromHyper<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    /// Hyper's services are always ready.
    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        self.0.call(request)
    }
}
