//! HTTP/1.0 and HTTP/1.1 as pure functions: bytes in, events out. No I/O, no time, no app.

pub(crate) mod chunked;
pub(crate) mod date;
pub(crate) mod head;
pub(crate) mod late_fields;
pub(crate) mod refusal;
pub(crate) mod reply;
pub(crate) mod target;
