//! The command line of an indexed query (RFC 3875 §4.4): pure, and never near a shell.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _};

use super::script::percent_decode;

/// Most words: far from what the kernel takes, far beyond what anybody types.
const MAX_WORDS: usize = 256;

/// The words of a query without `=`, for GET and HEAD; none if any of them cannot be an argument.
///
/// A word that begins with `-` cannot: a program would take it for an option (CVE-2012-1823). As the RFC has it, there is no
/// command line at all then. Characters that are active in the Bourne shell get a backslash (§7.2).
pub(super) fn words(method: &[u8], query: &[u8]) -> Vec<OsString> {
    let is_indexed = matches!(method, b"GET" | b"HEAD") && !query.is_empty() && !query.contains(&b'=');
    if !is_indexed {
        return Vec::new();
    }
    let words: Option<Vec<_>> = query.split(|&byte| byte == b'+').map(word).collect();
    words.filter(|words| words.len() <= MAX_WORDS).unwrap_or_default()
}

fn word(encoded: &[u8]) -> Option<OsString> {
    let decoded = percent_decode(encoded).filter(|word| !word.contains(&0) && word.first() != Some(&b'-'))?;
    let mut escaped = Vec::with_capacity(decoded.len());
    for byte in decoded {
        if b"&;`'\"|*?~<>^()[]{}$\\\n\r#! \t".contains(&byte) {
            escaped.push(b'\\');
        }
        escaped.push(byte);
    }
    // A search word has at least one character (§4.4).
    (!escaped.is_empty()).then(|| OsString::from_vec(escaped))
}

#[cfg(test)]
mod tests {
    use super::words;

    fn told(method: &str, query: &str) -> Vec<String> {
        words(method.as_bytes(), query.as_bytes())
            .into_iter()
            .map(|word| word.into_string().expect("text"))
            .collect()
    }

    #[test]
    fn an_indexed_query_is_a_command_line() {
        assert_eq!(told("GET", "one+two%20and"), ["one", "two\\ and"]);
        assert_eq!(told("HEAD", "one"), ["one"]);
        assert_eq!(told("GET", "$(id);%27"), ["\\$\\(id\\)\\;\\'"]);
        assert_eq!(told("GET", "a%3Db"), ["a=b"]);
    }

    #[test]
    fn anything_else_is_none() {
        for (method, query) in [
            ("POST", "one"),
            ("GET", ""),
            ("GET", "a=b"),
            ("GET", "one+-s"),
            ("GET", "%2ds"),
            ("GET", "one++two"),
            ("GET", "a+%00"),
            ("GET", "%zz"),
        ] {
            assert_eq!(told(method, query), [""; 0], "{method} {query}");
        }
        assert_eq!(told("GET", &"a+".repeat(300)), [""; 0]);
    }
}
