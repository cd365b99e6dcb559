//! Which Python: the one that the user named, else the active virtual environment, else `./.venv` here or above, else `python3` on
//! PATH. Looks at files, starts nothing.

use std::{
    env,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{Surroundings, unusable};
use crate::error::StartError;

/// The interpreter to use.
///
/// # Errors
/// [`StartError`] that lists every place looked at.
pub(super) fn find(named: Option<&Path>, surroundings: &Surroundings) -> Result<PathBuf, StartError> {
    match named {
        Some(named) => find_named(named, surroundings),
        None => find_unnamed(surroundings),
    }
}

fn find_named(named: &Path, surroundings: &Surroundings) -> Result<PathBuf, StartError> {
    let is_bare_name = named.components().count() == 1 && !named.starts_with(".") && !named.is_dir();
    if is_bare_name {
        let found = on_path(named, surroundings).find(|candidate| is_executable(candidate));
        return found
            .ok_or_else(|| unusable(format!("--python {}: no such program on PATH", named.display())));
    }
    if named.is_dir() {
        let found = in_environment(named).into_iter().find(|candidate| is_executable(candidate));
        return found.ok_or_else(|| {
            unusable(format!(
                "--python {}: a directory without bin/python3; name a virtual environment or an interpreter",
                named.display()
            ))
        });
    }
    if is_executable(named) {
        // Python finds its environment by the path that it is called by, and that must be absolute.
        return std::path::absolute(named)
            .map_err(|error| unusable(format!("--python {}: {error}", named.display())));
    }
    let cause = if named.exists() { "not executable" } else { "no such file" };
    Err(unusable(format!("--python {}: {cause}", named.display())))
}

fn find_unnamed(surroundings: &Surroundings) -> Result<PathBuf, StartError> {
    let mut places: Vec<(String, Vec<PathBuf>)> = Vec::new();
    for (variable, prefix) in
        [("VIRTUAL_ENV", &surroundings.virtual_env), ("CONDA_PREFIX", &surroundings.conda_prefix)]
    {
        match prefix {
            Some(prefix) => places.push((format!("${variable}"), in_environment(Path::new(prefix)).into())),
            None => places.push((format!("${variable} is not set"), Vec::new())),
        }
    }
    if let Some(directory) = &surroundings.directory {
        let candidates = directory.ancestors().flat_map(|above| in_environment(&above.join(".venv")));
        places.push((".venv here and above".to_owned(), candidates.collect()));
    }
    places.push(("PATH".to_owned(), on_path(Path::new("python3"), surroundings).collect()));
    let found =
        places.iter().flat_map(|(_, candidates)| candidates).find(|candidate| is_executable(candidate));
    found.cloned().ok_or_else(|| {
        let looked_at: Vec<String> =
            places.iter().map(|(place, candidates)| describe(place, candidates)).collect();
        unusable(format!(
            "no Python interpreter found; name one with --python PATH\nlooked at:\n{}",
            looked_at.join("\n")
        ))
    })
}

fn describe(place: &str, candidates: &[PathBuf]) -> String {
    let list: Vec<String> = candidates.iter().map(|candidate| candidate.display().to_string()).collect();
    if list.is_empty() { format!("  {place}") } else { format!("  {place}: {}", list.join(", ")) }
}

fn in_environment(prefix: &Path) -> [PathBuf; 2] {
    ["bin/python3", "bin/python"].map(|program| prefix.join(program))
}

fn on_path<'a>(name: &'a Path, surroundings: &'a Surroundings) -> impl Iterator<Item = PathBuf> + 'a {
    let path = surroundings.path.as_deref().unwrap_or_default();
    env::split_paths(path)
        .filter(|directory| directory.is_absolute())
        .map(move |directory| directory.join(name))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::PermissionsExt as _,
        path::{Path, PathBuf},
    };

    use super::find;
    use crate::python_launch::Surroundings;

    /// A directory of its own for each test, removed at the end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let place = std::env::temp_dir().join(format!("interpreter-{name}-{}", std::process::id()));
            fs::create_dir_all(&place).unwrap();
            Self(place)
        }

        fn program(&self, path: &str) -> PathBuf {
            let program = self.0.join(path);
            fs::create_dir_all(program.parent().unwrap()).unwrap();
            fs::write(&program, "").unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
            program
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _best_effort = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_order_is_named_then_active_then_dot_venv_then_path() {
        let place = Place::new("order");
        let on_path = place.program("usr/python3");
        let dot_venv = place.program(".venv/bin/python3");
        let active = place.program("active/bin/python");
        let named = place.program("named/bin/python3");
        let mut surroundings = Surroundings {
            path: Some(place.0.join("usr").into()),
            directory: Some(place.0.join("deep/inside")),
            virtual_env: Some(place.0.join("active").into()),
            ..Surroundings::default()
        };
        assert_eq!(find(Some(&named), &surroundings).unwrap(), named);
        assert_eq!(find(Some(&place.0.join("named")), &surroundings).unwrap(), named);
        assert_eq!(find(Some(Path::new("python3")), &surroundings).unwrap(), on_path);
        assert_eq!(find(None, &surroundings).unwrap(), active);
        surroundings.virtual_env = None;
        assert_eq!(find(None, &surroundings).unwrap(), dot_venv);
        fs::remove_file(dot_venv).unwrap();
        assert_eq!(find(None, &surroundings).unwrap(), on_path);
    }

    #[test]
    fn a_failed_search_lists_every_place() {
        let place = Place::new("none");
        let surroundings = Surroundings {
            path: Some(place.0.join("usr").into()),
            directory: Some(place.0.clone()),
            conda_prefix: Some("/opt/conda-that-is-not-there".into()),
            ..Surroundings::default()
        };
        let message = find(None, &surroundings).unwrap_err().message;
        for part in [
            "--python",
            "$VIRTUAL_ENV is not set",
            "/opt/conda-that-is-not-there/bin/python3",
            ".venv/bin/python3",
            "usr/python3",
        ] {
            assert!(message.contains(part), "{part:?} is missing in:\n{message}");
        }
    }

    #[test]
    fn a_named_interpreter_that_is_wrong_is_never_replaced_by_another() {
        let place = Place::new("named");
        let surroundings = Surroundings {
            path: Some(place.program("usr/python3").parent().unwrap().into()),
            ..Surroundings::default()
        };
        let message = find(Some(Path::new("/no/such/python")), &surroundings).unwrap_err().message;
        assert_eq!(message, "--python /no/such/python: no such file");
    }
}
