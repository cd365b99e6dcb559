//! Finds and imports the application, and says in plain words why it could not: the cause first, what there is instead, what
//! to do. The application's own traceback goes along whole; frames of ours are never in it.

use std::path::Path;

use protocol::settings::{
    EventLoop, Factory, Interface as InterfaceSetting, Lifespan, PythonSettings, wsgi::WorkerClass,
};
use pyo3::{
    Bound, PyAny, PyErr, PyResult, Python,
    exceptions::{PyAttributeError, PyModuleNotFoundError},
    prelude::PyAnyMethods,
    types::{PyListMethods, PyModule, PyModuleMethods, PyTypeMethods},
};

use crate::{
    failure::Failure,
    interface::{self, Interface},
};

/// Names that applications usually have, for the sentence that says what is missing.
const SIMILAR_ENOUGH: f64 = 0.8;
/// Candidates named in a message.
const MOST_CANDIDATES: usize = 5;

/// What was loaded.
pub(crate) struct Loaded<'py> {
    pub(crate) application: Bound<'py, PyAny>,
    /// For people: "ASGI 3 application shop.main:app".
    pub(crate) description: String,
    pub(crate) interface: Speaks,
}

/// What can be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Asgi,
    Wsgi,
}

/// Imports the module, finds the attribute, calls the factory if it is one, and looks which interface it speaks.
pub(crate) fn load<'py>(py: Python<'py>, settings: &PythonSettings) -> Result<Loaded<'py>, Failure> {
    let target = Target::parse(&settings.target)?;
    let module = import(py, &target, &settings.app_dir)?;
    let found = attribute(&module, &target)?;
    let wants_call = target.is_call || settings.factory == Factory::Call;
    let application = if wants_call { call_factory(&found, &settings.target)? } else { found };
    let look = |object| interface::of(object).map_err(|error| broken(py, &settings.target, error));
    let (application, interface) = match settings.interface {
        InterfaceSetting::Auto => match look(&application)? {
            Interface::Factory if !wants_call => {
                let made = call_factory(&application, &settings.target)?;
                let interface = look(&made)?;
                (made, interface)
            }
            found => (application, found),
        },
        InterfaceSetting::Asgi3 if application.is_callable() => (application, Interface::Asgi3),
        InterfaceSetting::Asgi2 if application.is_callable() => (application, Interface::Asgi2),
        InterfaceSetting::Wsgi if application.is_callable() => (application, Interface::Wsgi),
        InterfaceSetting::Asgi3 | InterfaceSetting::Asgi2 | InterfaceSetting::Wsgi => {
            (application, Interface::None)
        }
    };
    let (application, version) = match interface {
        Interface::Asgi2 => {
            (single_callable(&application).map_err(|error| broken(py, "asgi2.py", error))?, 2)
        }
        Interface::Asgi3 | Interface::Wsgi | Interface::Factory | Interface::None => (application, 3),
    };
    let interface = served_interface(&application, interface, &settings.target)?;
    refuse_idle_settings(settings, interface)?;
    let name = match (interface, version) {
        (Speaks::Asgi, 2) => "ASGI 2",
        (Speaks::Asgi, _) => "ASGI 3",
        (Speaks::Wsgi, _) => "WSGI",
    };
    Ok(Loaded { application, description: format!("{name} application {}", settings.target), interface })
}

/// `package.module:attribute` or `package.module:factory()`, taken apart.
struct Target<'a> {
    module: &'a str,
    attribute: &'a str,
    is_call: bool,
}

impl<'a> Target<'a> {
    fn parse(text: &'a str) -> Result<Self, Failure> {
        let Some((module, attribute)) = text.split_once(':') else {
            return Err(Failure::load(format!(
                "{text:?} names no attribute: write `module:attribute`, for example `{text}:app`"
            )));
        };
        let (attribute, is_call) = match attribute.strip_suffix("()") {
            Some(factory) => (factory, true),
            None => (attribute, false),
        };
        if module.is_empty() || attribute.is_empty() {
            return Err(Failure::load(format!(
                "{text:?} is incomplete: write `module:attribute`, for example `main:app`"
            )));
        }
        Ok(Self { module, attribute, is_call })
    }
}

fn import<'py>(
    py: Python<'py>,
    target: &Target<'_>,
    app_dir: &Path,
) -> Result<Bound<'py, PyModule>, Failure> {
    let error = match py.import(target.module) {
        Ok(module) => return Ok(module),
        Err(error) => error,
    };
    if let Some(missing) = missing_module(py, &error)
        && (target.module == missing || target.module.starts_with(&format!("{missing}.")))
    {
        return Err(Failure::load(module_is_missing(target.module, app_dir)));
    }
    Err(broken(py, target.module, error))
}

/// The name in a ModuleNotFoundError.
fn missing_module(py: Python<'_>, error: &PyErr) -> Option<String> {
    if !error.is_instance_of::<PyModuleNotFoundError>(py) {
        return None;
    }
    error.value(py).getattr("name").ok()?.extract().ok()
}

fn module_is_missing(module: &str, app_dir: &Path) -> String {
    let folder = if app_dir.as_os_str().is_empty() { Path::new(".") } else { app_dir };
    let place = std::path::absolute(folder).unwrap_or_else(|_error| folder.to_owned());
    let there = modules_in(&place);
    let top = module.split('.').next().unwrap_or(module);
    let advice = match nearest(top, &there) {
        Some(name) => format!("did you mean {name:?}?"),
        None if there.is_empty() => {
            "there is no Python module in that folder; choose another with --app-dir".to_owned()
        }
        None => format!("that folder has: {}", listed(&there)),
    };
    format!("cannot import {module:?}: there is no such module in {}; {advice}", place.display())
}

fn modules_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let path = entry.path();
            let is_package = path.join("__init__.py").is_file();
            let is_module = path.extension().is_some_and(|extension| extension == "py");
            (is_package || is_module).then(|| path.file_stem()?.to_str().map(str::to_owned))?
        })
        .collect();
    names.sort();
    names
}

fn attribute<'py>(module: &Bound<'py, PyModule>, target: &Target<'_>) -> Result<Bound<'py, PyAny>, Failure> {
    let py = module.py();
    let mut found = module.clone().into_any();
    for name in target.attribute.split('.') {
        found = match found.getattr(name) {
            Ok(next) => next,
            Err(error) if error.is_instance_of::<PyAttributeError>(py) => {
                return Err(Failure::load(attribute_is_missing(module, target, name)));
            }
            Err(error) => return Err(broken(py, target.module, error)),
        };
    }
    Ok(found)
}

fn attribute_is_missing(module: &Bound<'_, PyModule>, target: &Target<'_>, name: &str) -> String {
    let candidates = applications_in(module);
    let place = module.filename().map_or_else(|_error| target.module.to_owned(), |file| file.to_string());
    let advice = match nearest(name, &candidates) {
        Some(candidate) => format!("did you mean \"{}:{candidate}\"?", target.module),
        None if candidates.is_empty() => "it has nothing that looks like an application".to_owned(),
        None => format!("it has: {}", listed(&candidates)),
    };
    format!("the module {:?} has no attribute {name:?} ({place}); {advice}", target.module)
}

/// Names in a module that could be meant: applications, and functions that might make one.
fn applications_in(module: &Bound<'_, PyModule>) -> Vec<String> {
    let Ok(names) = module.dir() else { return Vec::new() };
    let is_candidate = |name: &String| {
        let Ok(value) = module.getattr(name.as_str()) else { return false };
        let is_own = value
            .getattr("__module__")
            .and_then(|origin| origin.extract::<String>())
            .map_or(true, |origin| module.name().is_ok_and(|name| name.to_string() == origin));
        let is_class = value.is_instance_of::<pyo3::types::PyType>();
        !name.starts_with('_')
            && !is_class
            && match interface::of(&value) {
                Ok(Interface::Asgi3) => true,
                Ok(Interface::Factory | Interface::Wsgi) => is_own,
                Ok(Interface::Asgi2 | Interface::None) | Err(_) => false,
            }
    };
    names.iter().filter_map(|name| name.extract::<String>().ok()).filter(is_candidate).collect()
}

fn call_factory<'py>(factory: &Bound<'py, PyAny>, target: &str) -> Result<Bound<'py, PyAny>, Failure> {
    if !factory.is_callable() {
        return Err(Failure::load(format!(
            "{target} is no function, so it cannot be called to make the application"
        )));
    }
    factory.call0().map_err(|error| broken(factory.py(), target, error))
}

/// An ASGI 2 application as one of ASGI 3.
fn single_callable<'py>(application: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = application.py();
    let source = crate::python_source!("asgi2.py");
    let module = PyModule::from_code(py, source, c"<supervise>/asgi2.py", c"worker_python_asgi2")?;
    module.getattr("single_callable")?.call1((application,))
}

fn served_interface(
    application: &Bound<'_, PyAny>,
    interface: Interface,
    target: &str,
) -> Result<Speaks, Failure> {
    let refusal = match interface {
        Interface::Asgi3 | Interface::Asgi2 => return Ok(Speaks::Asgi),
        Interface::Wsgi => return Ok(Speaks::Wsgi),
        Interface::Factory => {
            format!("{target} returned another function without arguments instead of an application")
        }
        Interface::None => {
            let kind = application.get_type().name().map(|name| name.to_string()).unwrap_or_default();
            format!("{target} is no application but of type {kind}, which cannot be called")
        }
    };
    Err(Failure::load(refusal))
}

/// No setting is accepted and then ignored: which of them mean something is known only now.
fn refuse_idle_settings(settings: &PythonSettings, interface: Speaks) -> Result<(), Failure> {
    let (target, wsgi) = (&settings.target, &settings.wsgi);
    let idle = match interface {
        Speaks::Asgi => match (wsgi.worker_class, wsgi.threads) {
            (WorkerClass::Async, None) => return Ok(()),
            (WorkerClass::Async, Some(_)) => "--threads is",
            (WorkerClass::Sync, _) => "--worker-class sync is",
            (WorkerClass::Threads, _) => "--worker-class threads is",
        },
        Speaks::Wsgi if settings.asgi != protocol::defaults::asgi() => {
            "one of --root-path, --root-path-mode, --asgi-spec-version, --cancel-on-disconnect and --reset-contextvars is"
        }
        Speaks::Wsgi => match (settings.lifespan, &settings.event_loop) {
            (Lifespan::Auto | Lifespan::Off, EventLoop::Auto) => return Ok(()),
            (Lifespan::On, _) => "--lifespan on is",
            (
                Lifespan::Auto | Lifespan::Off,
                EventLoop::Asyncio | EventLoop::Uvloop | EventLoop::Factory(_),
            ) => "--loop is",
        },
    };
    let refusal = match interface {
        Speaks::Asgi => format!(
            "{idle} for WSGI applications, and {target} is an ASGI application, which runs on an event loop: \
             use `--worker-class async`, and `--workers` for more cores"
        ),
        Speaks::Wsgi => format!("{idle} for ASGI applications, and {target} is a WSGI application"),
    };
    Err(Failure::load(refusal))
}

/// The application's own code raised: its last line first, then all of it.
fn broken(py: Python<'_>, what: &str, error: PyErr) -> Failure {
    let summary = crate::failure::summary(py, &error);
    Failure::load_with_traceback(py, format!("{what} could not be loaded: {summary}"), error)
}

fn nearest<'a>(wanted: &str, names: &'a [String]) -> Option<&'a str> {
    names
        .iter()
        .map(|name| (strsim::jaro_winkler(wanted, name), name.as_str()))
        .filter(|(similarity, _)| *similarity > SIMILAR_ENOUGH)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, name)| name)
}

fn listed(names: &[String]) -> String {
    let mut text = names.iter().take(MOST_CANDIDATES).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > MOST_CANDIDATES {
        text.push_str(", …");
    }
    text
}

/// Puts the folder of the application first on the module search path, unless it is there already.
pub(crate) fn extend_search_path(py: Python<'_>, app_dir: &Path) -> PyResult<()> {
    let path = py.import("sys")?.getattr("path")?;
    // As text: a `Path` would become a pathlib.Path, whose import costs more than the rest of the start.
    let folder = app_dir.as_os_str();
    if !path.contains(folder)? {
        path.call_method1("insert", (0, folder))?;
    }
    Ok(())
}
