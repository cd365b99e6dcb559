//! Applications that may be meant when none is named: found by looking at files. Runs nothing and imports nothing.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Files that hold an application by habit.
const MODULES: [&str; 4] = ["main", "app", "asgi", "wsgi"];
/// Names of an application by habit. `create_app` is a factory.
const ATTRIBUTES: [&str; 3] = ["app", "application", "create_app"];
/// A larger file is no small main module; reading it would delay the start.
const LARGEST_FILE_BYTES: u64 = 256 * 1024;
/// Directories looked into, so that a start in `/` ends.
const MOST_DIRECTORIES: usize = 100;

/// `module:attribute` for each candidate in `directory` and the packages right below it.
#[must_use]
pub fn in_directory(directory: &Path) -> Vec<String> {
    let mut found = in_package(directory, "");
    let Ok(entries) = fs::read_dir(directory) else { return found };
    let mut packages: Vec<PathBuf> =
        entries.take(MOST_DIRECTORIES).flatten().map(|entry| entry.path()).collect();
    packages.sort();
    for package in packages.iter().filter(|path| path.is_dir()) {
        if let Some(name) =
            package.file_name().and_then(|name| name.to_str()).filter(|name| is_identifier(name))
        {
            found.extend(in_package(package, &format!("{name}.")));
        }
    }
    found
}

fn in_package(directory: &Path, prefix: &str) -> Vec<String> {
    let modules = MODULES.iter().filter_map(|module| {
        let file = directory.join(format!("{module}.py"));
        let small = fs::metadata(&file).is_ok_and(|data| data.is_file() && data.len() <= LARGEST_FILE_BYTES);
        let text = if small { fs::read_to_string(&file).ok()? } else { return None };
        let attribute =
            ATTRIBUTES.iter().find(|attribute| text.lines().any(|line| defines(line, attribute)))?;
        let call = if *attribute == "create_app" { "()" } else { "" };
        Some(format!("{prefix}{module}:{attribute}{call}"))
    });
    modules.collect()
}

/// Whether a line at the outermost level assigns or defines this name.
fn defines(line: &str, name: &str) -> bool {
    let line = line.strip_prefix("async ").unwrap_or(line);
    let line = line.strip_prefix("def ").unwrap_or(line);
    line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with(['=', ':', '(']))
}

fn is_identifier(name: &str) -> bool {
    name.chars().all(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::defines;

    #[test]
    fn only_outermost_definitions_count() {
        for line in [
            "app = FastAPI()",
            "app: FastAPI = f()",
            "async def app(scope, receive, send):",
            "def app(e, s):",
        ] {
            assert!(defines(line, "app"), "{line}");
        }
        for line in ["    app = 1", "application = 1", "# app = 1", "import app"] {
            assert!(!defines(line, "app"), "{line}");
        }
    }
}
