//! A request's head as `http` types. One allocation holds the target and every header value; each is a slice of it.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version as HttpVersion, uri::PathAndQuery,
};
use worker_server::{RequestHead, Version};

use super::Body;

/// Who is on either end of the connection that a request came on; among the request's extensions.
#[derive(Debug, Clone)]
pub struct ConnectionInfo(Arc<worker_server::ConnectionInfo>);

impl std::ops::Deref for ConnectionInfo {
    type Target = worker_server::ConnectionInfo;

    fn deref(&self) -> &worker_server::ConnectionInfo {
        &self.0
    }
}

/// Builds requests, and keeps what consecutive ones of a connection share.
#[derive(Debug, Default)]
pub(super) struct RequestBuilder {
    /// The last connection seen, and its shareable copy.
    connection: RefCell<Option<(Rc<worker_server::ConnectionInfo>, ConnectionInfo)>>,
}

/// A request that `http` cannot express, though the engine let it pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inexpressible;

impl RequestBuilder {
    /// The request with this head and body.
    pub(super) fn build(&self, head: &RequestHead<'_>, body: Body) -> Result<Request<Body>, Inexpressible> {
        let mut text = text_of(head);
        let mut request = Request::new(body);
        *request.method_mut() = Method::from_bytes(head.method).map_err(|_error| Inexpressible)?;
        *request.uri_mut() = target(text.split_to(target_length(head)))?;
        *request.version_mut() = match head.version {
            Version::Http10 => HttpVersion::HTTP_10,
            Version::Http11 => HttpVersion::HTTP_11,
            Version::Http2 => HttpVersion::HTTP_2,
        };
        let mut headers = HeaderMap::with_capacity(head.headers.len());
        for header in head.headers {
            let name = HeaderName::from_bytes(header.name).map_err(|_error| Inexpressible)?;
            let value = text.split_to(header.value.len());
            headers.append(name, HeaderValue::from_maybe_shared(value).map_err(|_error| Inexpressible)?);
        }
        *request.headers_mut() = headers;
        request.extensions_mut().insert(self.connection(head));
        Ok(request)
    }

    /// The ends of the connection; the client is whom a trusted proxy named, where one did.
    fn connection(&self, head: &RequestHead<'_>) -> ConnectionInfo {
        let info = &head.seen_connection();
        let mut last = self.connection.borrow_mut();
        match &*last {
            Some((seen, shared)) if Rc::ptr_eq(seen, info) => shared.clone(),
            Some(_) | None => {
                let copy = worker_server::ConnectionInfo {
                    peer: info.peer.clone(),
                    local: info.local.clone(),
                    scheme: info.scheme,
                    tls: info.tls.clone(),
                };
                let shared = ConnectionInfo(Arc::new(copy));
                *last = Some((Rc::clone(info), shared.clone()));
                shared
            }
        }
    }
}

/// The target, and after it every header value, in one piece.
fn text_of(head: &RequestHead<'_>) -> Bytes {
    let values: usize = head.headers.iter().map(|header| header.value.len()).sum();
    let mut text = BytesMut::with_capacity(target_length(head) + values);
    text.extend_from_slice(head.path);
    if !head.query.is_empty() {
        text.extend_from_slice(b"?");
        text.extend_from_slice(head.query);
    }
    for header in head.headers {
        text.extend_from_slice(header.value);
    }
    text.freeze()
}

fn target_length(head: &RequestHead<'_>) -> usize {
    let query = if head.query.is_empty() { 0 } else { head.query.len() + 1 };
    head.path.len() + query
}

fn target(text: Bytes) -> Result<Uri, Inexpressible> {
    PathAndQuery::from_maybe_shared(text).map(Uri::from).map_err(|_error| Inexpressible)
}
