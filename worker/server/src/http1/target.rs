//! The request target (RFC 9112 §3.2) and the authority in it or in Host (RFC 3986 §3.2).

use super::refusal::Refusal;

/// A part of the head by its place in the read buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        // Heads are bounded far below 4 GiB; a span that does not fit would be a bug of ours, and shows as an empty span.
        Self { start: u32::try_from(start).unwrap_or(0), end: u32::try_from(end).unwrap_or(0) }
    }

    /// Where `part` lies in `whole`, of which it must be a slice.
    pub(crate) fn of(part: &[u8], whole: &[u8]) -> Self {
        let start = part.as_ptr() as usize - whole.as_ptr() as usize;
        Self::new(start, start + part.len())
    }

    pub(crate) fn start(self) -> usize {
        self.start as usize
    }

    pub(crate) fn slice(self, whole: &[u8]) -> &[u8] {
        &whole[self.start as usize..self.end as usize]
    }

    pub(crate) fn slice_mut(self, whole: &mut [u8]) -> &mut [u8] {
        &mut whole[self.start as usize..self.end as usize]
    }
}

/// A request target taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// The authority of an absolute-form target.
    pub(crate) authority: Option<&'a [u8]>,
    /// `None` where an absolute target has an authority and no path: the path is `/` then.
    pub(crate) path: Option<&'a [u8]>,
    /// Without the question mark; empty at the target's end if there is none.
    pub(crate) query: &'a [u8],
}

/// Takes a target apart: origin-form, absolute-form, or `*` for OPTIONS.
pub(crate) fn parse<'a>(method: &[u8], target: &'a [u8]) -> Result<Target<'a>, Refusal> {
    if method == b"CONNECT" {
        return Err(Refusal::Connect);
    }
    // Without a branch for each byte, so that many are looked at in one instruction.
    if !target.iter().fold(true, |valid, &byte| valid & is_target_byte(byte)) {
        return Err(Refusal::TargetBytes);
    }
    if target.first() == Some(&b'/') {
        let (path, query) = split_query(target);
        return Ok(Target { authority: None, path: Some(path), query });
    }
    if target == b"*" {
        let allowed = method == b"OPTIONS";
        let target = Target { authority: None, path: Some(target), query: &target[1..] };
        return if allowed { Ok(target) } else { Err(Refusal::TargetForm) };
    }
    absolute(target)
}

fn absolute(target: &[u8]) -> Result<Target<'_>, Refusal> {
    let rest = strip_prefix_ignoring_case(target, b"http://")
        .or_else(|| strip_prefix_ignoring_case(target, b"https://"))
        .ok_or(Refusal::TargetForm)?;
    let authority_end = rest.iter().position(|&byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(authority_end);
    if !is_authority(authority) {
        return Err(Refusal::HostInvalid);
    }
    let (path, query) = split_query(rest);
    Ok(Target { authority: Some(authority), path: (!path.is_empty()).then_some(path), query })
}

fn split_query(target: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'?', target) {
        Some(mark) => (&target[..mark], &target[mark + 1..]),
        None => (target, &target[target.len()..]),
    }
}

fn strip_prefix_ignoring_case<'a>(bytes: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Visible ASCII but `#`: a fragment never leaves the client. What else RFC 3986 excludes (`"<>\^{|}` and the backtick) is sent
/// by living clients and ambiguous to nobody.
fn is_target_byte(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && byte != b'#'
}

/// Whether these bytes are `host[:port]`: no user info, no list, no path.
pub(crate) fn is_authority(authority: &[u8]) -> bool {
    let (host, port) = match authority.first() {
        None => return false,
        Some(b'[') => {
            let Some(bracket) = memchr::memchr(b']', authority) else { return false };
            let (literal, rest) = authority.split_at(bracket + 1);
            if !literal[1..bracket].iter().all(|&byte| is_ip_literal_byte(byte)) || literal.len() < 4 {
                return false;
            }
            (literal, rest)
        }
        Some(_) => {
            let host = authority.iter().take_while(|&&byte| REGISTERED_NAME[byte as usize]).count();
            authority.split_at(host)
        }
    };
    !host.is_empty() && is_port(port)
}

/// Nothing, or a colon and at most a 16-bit number (RFC 3986 lets the number be missing).
fn is_port(port: &[u8]) -> bool {
    let Some((&colon, digits)) = port.split_first() else { return true };
    let value = digits.iter().try_fold(0_u32, |value, &digit| {
        digit.is_ascii_digit().then(|| (value * 10 + u32::from(digit - b'0')).min(65_536))
    });
    colon == b':' && value.is_some_and(|value| value < 65_536)
}

fn is_ip_literal_byte(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.' | b'v' | b'V')
}

/// Unreserved and sub-delims (RFC 3986 §3.2.2), without the comma that would make a list and the percent sign that would make
/// two spellings of one host.
static REGISTERED_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_usize;
    while byte < 256 {
        let character = byte as u8;
        table[byte] = character.is_ascii_alphanumeric()
            || matches!(
                character,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b';'
                    | b'='
            );
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_host_and_port_and_nothing_else() {
        let good: [&[u8]; 9] = [
            b"a",
            b"a.example",
            b"a:80",
            b"a:",
            b"[::1]",
            b"[::1]:8000",
            b"127.0.0.1:65535",
            b"a_b",
            b"xn--p1ai",
        ];
        for authority in good {
            assert!(is_authority(authority), "{}", authority.escape_ascii());
        }
        let bad: [&[u8]; 17] = [
            b"", b":80", b"a b", b"a,b", b"u@a", b"a/b", b"a?b", b"a#b", b"a:b", b"a:80:80", b"a:65536",
            b"a:-1", b"[::1", b"[]", b"[::g]", b"[::1]x", b"a\\b",
        ];
        for authority in bad {
            assert!(!is_authority(authority), "{}", authority.escape_ascii());
        }
    }

    #[test]
    fn absolute_targets_are_cut_down() {
        let target = parse(b"GET", b"HTTP://h:1/x?y?z").unwrap();
        assert_eq!(target, Target { authority: Some(b"h:1"), path: Some(b"/x"), query: b"y?z" });
        let target = parse(b"GET", b"http://h?q").unwrap();
        assert_eq!(target, Target { authority: Some(b"h"), path: None, query: b"q" });
        assert_eq!(parse(b"GET", b"ftp://h/"), Err(Refusal::TargetForm));
        assert_eq!(parse(b"GET", b"http://u@h/"), Err(Refusal::HostInvalid));
        assert_eq!(parse(b"GET", b"*"), Err(Refusal::TargetForm));
        assert_eq!(parse(b"GET", b"/a#b"), Err(Refusal::TargetBytes));
    }
}
