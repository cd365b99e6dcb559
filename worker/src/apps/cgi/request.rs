//! A request as a CGI program is told of it: owned, because it outlives the engine's read buffer.

use std::rc::Rc;

use worker_server::{BodyLength, ConnectionInfo, RequestHead, Version};

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// As received.
    pub(super) method: Vec<u8>,
    /// As received, percent-encoded.
    pub(super) path: Vec<u8>,
    /// Where a trusted proxy says that the programs are mounted, percent-encoded; empty if it says nothing.
    pub(super) prefix: Vec<u8>,
    /// How much of the path is that.
    pub(super) prefix_in_path: usize,
    /// Without the `?`.
    pub(super) query: Vec<u8>,
    pub(super) version: Version,
    /// Names in lower case.
    pub(super) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) body: BodyLength,
    pub(super) connection: Rc<ConnectionInfo>,
}

impl Request {
    /// A copy of the head.
    pub(super) fn new(head: &RequestHead<'_>) -> Self {
        Self {
            method: head.method.to_vec(),
            path: head.path.to_vec(),
            prefix: head.prefix.to_vec(),
            prefix_in_path: head.prefix_in_path(),
            query: head.query.to_vec(),
            version: head.version,
            headers: head
                .headers
                .iter()
                .map(|header| (header.name.to_vec(), header.value.to_vec()))
                .collect(),
            body: head.body,
            connection: head.seen_connection(),
        }
    }

    /// The path without the prefix; what is mounted has a root of its own.
    pub(super) fn path_below_prefix(&self) -> &[u8] {
        match &self.path[self.prefix_in_path..] {
            b"" => b"/",
            path => path,
        }
    }

    /// Whether the reply ends with its head.
    pub(super) fn is_head(&self) -> bool {
        self.method == b"HEAD"
    }

    /// For the log: the method and the path, fit for a line.
    pub(super) fn title(&self) -> String {
        format!("{} {}", self.method.escape_ascii(), self.path.escape_ascii())
    }

    /// The request that a local redirect stands for (RFC 3875 §6.2.2): a GET of `target` by the same client, without a body.
    pub(super) fn redirected(&self, target: &[u8]) -> Self {
        let (path, query) = match target.iter().position(|&byte| byte == b'?') {
            Some(at) => (&target[..at], &target[at + 1..]),
            None => (target, &target[target.len()..]),
        };
        // A program that wrote its SCRIPT_NAME into the target wrote the prefix, too.
        let below = path.strip_prefix(self.prefix.as_slice());
        let has_prefix = below.is_some_and(|rest| matches!(rest.first(), None | Some(b'/')));
        let is_of_body = |name: &[u8]| name.starts_with(b"content-") || name == b"transfer-encoding";
        Self {
            // The reply to HEAD has no body, whatever brings it about.
            method: if self.is_head() { b"HEAD".to_vec() } else { b"GET".to_vec() },
            path: path.to_vec(),
            prefix: self.prefix.clone(),
            prefix_in_path: if has_prefix { self.prefix.len() } else { 0 },
            query: query.to_vec(),
            version: self.version,
            headers: self.headers.iter().filter(|(name, _)| !is_of_body(name)).cloned().collect(),
            body: BodyLength::None,
            connection: Rc::clone(&self.connection),
        }
    }
}
