//! The corpus of raw requests: valid and invalid, clause by clause of the standards, as text files beside this one. Knows how they are
//! written and nothing of who is tested with them.
//!
//! A case is a block of lines, divided from the next by an empty line:
//!
//! ```text
//! case NAME | CLAUSE
//! send BYTES           \r \n \t \0 \\ and \xNN are bytes, {TEXT*N} is TEXT N times
//! seen HEAD [BODY]     what the application saw of a request: method, path, ?query, version, body, [fields]; one line a request.
//!                      `seen HEAD` alone: a HEAD request, whose reply shows nothing
//! seen-start TEXT      the same, only its beginning
//! closes               the connection is closed behind the last reply; else it stays open
//! may-continue         100 Continue may come before the reply
//! refused STATUS WORDS refused with this status and this explanation, and closed
//! ```

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of the corpus")]
#![allow(clippy::allow_attributes, reason = "which parts are used differs from binary to binary")]
#![allow(clippy::unwrap_used, reason = "a corpus that breaks its own rules is a broken test")]

use std::path::Path;

/// The files, in the order of the standard.
const FILES: [&str; 6] =
    ["request_line", "target_and_host", "fields", "content_length", "transfer_encoding", "connection"];

/// One case.
#[derive(Debug, Clone, Default)]
pub struct Case {
    pub name: String,
    pub clause: String,
    pub sent: Vec<u8>,
    /// One for each request that reaches the application.
    pub seen: Vec<Seen>,
    pub refusal: Option<Refusal>,
    /// The connection is closed at the end, refused or not.
    pub closes: bool,
}

/// What the application saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Whole(String),
    Start(String),
    /// A HEAD request.
    Nothing,
}

/// How a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub words: String,
}

/// All cases.
pub fn all(directory: &Path) -> Vec<Case> {
    FILES.iter().flat_map(|name| read(&directory.join(format!("{name}.txt")))).collect()
}

fn read(file: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    text.split("\n\n").filter(|block| block.contains("case ")).map(parse).collect()
}

fn parse(block: &str) -> Case {
    let mut case = Case::default();
    for line in block.lines().filter(|line| !line.starts_with('#')) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "case" => {
                let (name, clause) = rest.split_once(" | ").unwrap_or_else(|| panic!("no clause: {line}"));
                (case.name, case.clause) = (name.to_owned(), clause.to_owned());
            }
            "send" => case.sent = bytes(rest),
            "seen" if rest == "HEAD" => case.seen.push(Seen::Nothing),
            "seen" => case.seen.push(Seen::Whole(rest.to_owned())),
            "seen-start" => case.seen.push(Seen::Start(rest.to_owned())),
            "closes" => case.closes = true,
            "may-continue" => {}
            "refused" => {
                let (status, words) = rest.split_once(' ').unwrap();
                case.closes = true;
                case.refusal = Some(Refusal { status: status.parse().unwrap(), words: words.to_owned() });
            }
            _ => panic!("{:?} is no line of a corpus", line),
        }
    }
    assert!(!case.name.is_empty() && !case.sent.is_empty(), "incomplete: {block}");
    assert!(case.clause.contains('§'), "{} names no clause", case.name);
    case
}

/// The bytes of a `send` line.
fn bytes(written: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = written.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = match (byte, after) {
            (b'\\', [b'x', digits @ ..]) => {
                let digits = std::str::from_utf8(&digits[..2]).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                &after[3..]
            }
            (b'\\', [escaped, after @ ..]) => {
                bytes.push(match escaped {
                    b'r' => b'\r',
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'0' => 0,
                    b'\\' => b'\\',
                    _ => panic!("an unknown escape in {written}"),
                });
                after
            }
            (b'{', _) => {
                let end = after.iter().position(|&byte| byte == b'}').unwrap();
                let repeated = std::str::from_utf8(&after[..end]).unwrap();
                let (text, count) = repeated.rsplit_once('*').unwrap();
                bytes.extend(self::bytes(text).repeat(count.parse().unwrap()));
                &after[end + 1..]
            }
            _ => {
                bytes.push(byte);
                after
            }
        };
    }
    bytes
}
