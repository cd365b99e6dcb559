//! From a request's path to the program that answers it (RFC 3875 §3.2): which file, and which part of the path names it.
//! Looks at the file system and runs nothing.
//!
//! No way leads out of the directory: a path with dot segments, encoded slashes or control characters is refused before any file
//! is looked at (§9.6), names that begin with a dot are not there, and what a symbolic link leads out of the root is forbidden.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

use nix::unistd::{AccessFlags, access};

use super::response_head::Dialect;

/// Where programs are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Site {
    /// Every executable file below this directory.
    Directory(PathBuf),
    /// This one, whatever the path.
    Program(PathBuf),
}

/// The program for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Script {
    /// Absolute.
    pub(super) file: PathBuf,
    /// SCRIPT_NAME: decoded, empty or with a leading slash.
    pub(super) name: Vec<u8>,
    /// PATH_INFO: decoded, empty or with a leading slash.
    pub(super) path_info: Vec<u8>,
    /// How it answers.
    pub(super) dialect: Dialect,
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoScript {
    /// 400: a path that must not be decoded.
    BadPath,
    /// 404.
    NotFound,
    /// 403: it is there, but must not or cannot be run.
    Forbidden,
}

impl Site {
    /// A directory of programs, or one program. Links in the path itself are followed: whoever starts the server chose it.
    ///
    /// # Errors
    /// What the file system says; `PermissionDenied` for a file that cannot be executed.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        if path.is_dir() {
            return Ok(Self::Directory(path));
        }
        access(&path, AccessFlags::X_OK)?;
        Ok(Self::Program(path))
    }

    /// DOCUMENT_ROOT, and what PATH_TRANSLATED is below.
    pub(super) fn root(&self) -> &Path {
        match self {
            Self::Directory(directory) => directory,
            Self::Program(program) => program.parent().unwrap_or(Path::new("/")),
        }
    }

    /// The program for a path as received, below a prefix that says where we are mounted.
    pub(super) fn find(&self, prefix: &[u8], path: &[u8]) -> Result<Script, NoScript> {
        let mut script = self.find_path(&decode(path)?)?;
        if !prefix.is_empty() {
            script.name.splice(0..0, decode(prefix)?);
        }
        Ok(script)
    }

    fn find_path(&self, path: &[u8]) -> Result<Script, NoScript> {
        match self {
            Self::Program(program) => Ok(Script {
                file: program.clone(),
                name: Vec::new(),
                path_info: path.to_vec(),
                dialect: dialect(program),
            }),
            Self::Directory(root) => find_below(root, path),
        }
    }
}

/// The decoded path. A slash that was encoded would not be told from one that divides (§4.1.5), and nobody who means well sends
/// dot segments: clients resolve them (RFC 3986 §5.2.4).
fn decode(path: &[u8]) -> Result<Vec<u8>, NoScript> {
    if path.first() != Some(&b'/') {
        return Err(NoScript::BadPath);
    }
    let mut segments = Vec::new();
    for segment in path.split(|&byte| byte == b'/') {
        let segment = percent_decode(segment).ok_or(NoScript::BadPath)?;
        let is_bad = segment == b"." || segment == b".." || segment.contains(&b'/');
        if is_bad || segment.iter().any(u8::is_ascii_control) {
            return Err(NoScript::BadPath);
        }
        segments.push(segment);
    }
    Ok(segments.join(&b'/'))
}

/// The bytes that `%41` and their like stand for; nothing when a `%` is not followed by two hexadecimal digits.
pub(super) fn percent_decode(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            decoded.push(*first);
            continue;
        }
        let [high, low, after @ ..] = rest else { return None };
        decoded.push(digit(high)? * 16 + digit(low)?);
        rest = after;
    }
    Some(decoded)
}

/// Walks down from the root until a file is met.
fn find_below(root: &Path, path: &[u8]) -> Result<Script, NoScript> {
    let mut file = root.to_owned();
    let mut end = 0;
    for segment in path[1..].split(|&byte| byte == b'/') {
        end += 1 + segment.len();
        if segment.is_empty() || segment.starts_with(b".") {
            return Err(NoScript::NotFound);
        }
        file.push(OsStr::from_bytes(segment));
        let metadata = fs::metadata(&file).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => NoScript::Forbidden,
            _ => NoScript::NotFound,
        })?;
        if metadata.is_dir() {
            continue;
        }
        if !metadata.is_file() || !is_below(root, &file) || access(&file, AccessFlags::X_OK).is_err() {
            return Err(NoScript::Forbidden);
        }
        let dialect = dialect(&file);
        return Ok(Script { file, name: path[..end].to_vec(), path_info: path[end..].to_vec(), dialect });
    }
    Err(NoScript::NotFound)
}

/// Whether the file is below the root when all links are followed.
fn is_below(root: &Path, file: &Path) -> bool {
    file.canonicalize().is_ok_and(|real| real.starts_with(root))
}

/// By the name alone (§5.1).
fn dialect(file: &Path) -> Dialect {
    let is_nph = file.file_name().is_some_and(|name| name.as_bytes().starts_with(b"nph-"));
    if is_nph { Dialect::NonParsed } else { Dialect::Parsed }
}

impl Script {
    /// PATH_TRANSLATED: where PATH_INFO would lead as a path of its own (§4.1.6); nothing if there is no PATH_INFO.
    pub(super) fn path_translated(&self, root: &Path) -> Option<PathBuf> {
        if self.path_info.is_empty() {
            return None;
        }
        let mut path = root.as_os_str().as_bytes().to_vec();
        path.extend_from_slice(&self.path_info);
        Some(PathBuf::from(std::ffi::OsString::from_vec(path)))
    }

    /// What the log calls it.
    pub(super) fn title(&self) -> String {
        self.file.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::{NoScript, decode, percent_decode};

    #[test]
    fn paths_are_decoded_or_refused() {
        let good: [(&str, &[u8]); 6] = [
            ("/", b"/"),
            ("/a%20b/c", b"/a b/c"),
            ("/a//b/", b"/a//b/"),
            ("/%e2%82%ac", "/\u{20ac}".as_bytes()),
            ("/...", b"/..."),
            ("/a%25b", b"/a%b"),
        ];
        for (path, expected) in good {
            assert_eq!(decode(path.as_bytes()).as_deref(), Ok(expected), "{path}");
        }
        for path in [
            "",
            "*",
            "a",
            "/..",
            "/a/../b",
            "/.",
            "/a/.",
            "/%2e%2e/a",
            "/.%2e",
            "/a%2fb",
            "/a%2Fb",
            "/%00",
            "/a%0ab",
            "/%",
            "/%4",
            "/%zz",
            "/%+1",
            "/a\u{7f}",
        ] {
            assert_eq!(decode(path.as_bytes()), Err(NoScript::BadPath), "{path}");
        }
    }

    #[test]
    fn half_an_escape_is_none() {
        assert_eq!(percent_decode(b"%41%"), None);
        assert_eq!(percent_decode(b"%41").as_deref(), Some(&b"A"[..]));
    }
}
