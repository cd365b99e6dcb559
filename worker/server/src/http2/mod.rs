//! HTTP/2's own rules as pure functions: which requests are sound, which fields a reply may have. No I/O, no time, no app;
//! frames and header compression are hyper's.

pub(crate) mod frame_guard;
pub(crate) mod reply;
pub(crate) mod request;

/// What a client begins with (RFC 9113 §3.4).
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
