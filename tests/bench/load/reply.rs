//! Finds the end of one HTTP/1.1 reply in the bytes received so far and judges it.

use super::Failure;

/// Servers answer with five to ten fields; more than this is no server of ours.
const MOST_HEADERS: usize = 32;

/// A right answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Head and body, in bytes.
    pub(crate) length: usize,
    /// What the server means to do with the connection.
    pub(crate) afterwards: Afterwards,
}

/// What the server means to do with the connection after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Afterwards {
    KeepAlive,
    Close,
}

/// What a head says.
struct Head {
    status: u16,
    head_length: usize,
    length: usize,
    afterwards: Afterwards,
}

/// `None` while the reply is incomplete.
pub(crate) fn parse(received: &[u8], expected_body: &[u8]) -> Result<Option<Reply>, Failure> {
    let Some(head) = parse_head(received)? else { return Ok(None) };
    let Some(body) = received.get(head.head_length..head.length) else { return Ok(None) };
    if head.status != 200 {
        return Err(Failure::WrongStatus);
    }
    if body != expected_body {
        return Err(Failure::WrongBody);
    }
    Ok(Some(Reply { length: head.length, afterwards: head.afterwards }))
}

/// The body of a reply with status 200, whatever it is; `None` while it is incomplete.
pub(crate) fn body(received: &[u8]) -> Result<Option<&[u8]>, Failure> {
    let Some(head) = parse_head(received)? else { return Ok(None) };
    if head.status != 200 {
        return Err(Failure::WrongStatus);
    }
    Ok(received.get(head.head_length..head.length))
}

fn parse_head(received: &[u8]) -> Result<Option<Head>, Failure> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut head = httparse::Response::new(&mut fields);
    let head_length = match head.parse(received) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_syntax) => return Err(Failure::Malformed),
    };
    let mut body_length = None;
    let mut afterwards = if head.version == Some(0) { Afterwards::Close } else { Afterwards::KeepAlive };
    for field in head.headers.iter() {
        if field.name.eq_ignore_ascii_case("content-length") {
            body_length = Some(decimal(field.value).ok_or(Failure::Malformed)?);
        } else if field.name.eq_ignore_ascii_case("connection") {
            let closes = field.value.eq_ignore_ascii_case(b"close");
            afterwards = if closes { Afterwards::Close } else { Afterwards::KeepAlive };
        }
    }
    // Chunked replies are not understood: a row that needs them must teach this file to read them.
    let length = head_length + body_length.ok_or(Failure::Malformed)?;
    let status = head.code.ok_or(Failure::Malformed)?;
    Ok(Some(Head { status, head_length, length, afterwards }))
}

fn decimal(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nserver: x\r\n\r\nhi";

    #[test]
    fn a_reply_is_complete_at_its_last_byte_and_not_before() {
        for end in 0..GOOD.len() {
            assert_eq!(parse(&GOOD[..end], b"hi"), Ok(None), "at {end}");
        }
        assert_eq!(
            parse(GOOD, b"hi"),
            Ok(Some(Reply { length: GOOD.len(), afterwards: Afterwards::KeepAlive }))
        );
    }

    #[test]
    fn wrong_answers_are_told_apart() {
        assert_eq!(parse(GOOD, b"ho"), Err(Failure::WrongBody));
        assert_eq!(parse(b"HTTP/1.1 503 no\r\ncontent-length: 0\r\n\r\n", b""), Err(Failure::WrongStatus));
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n\r\nhi", b"hi"), Err(Failure::Malformed));
        assert_eq!(parse(b"SSH-2.0-OpenSSH\r\n", b""), Err(Failure::Malformed));
    }

    #[test]
    fn a_close_is_announced_by_field_or_by_version() {
        let field = parse(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", b"");
        let version = parse(b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", b"");
        for reply in [field, version] {
            assert_eq!(reply.map(|reply| reply.map(|r| r.afterwards)), Ok(Some(Afterwards::Close)));
        }
    }
}
