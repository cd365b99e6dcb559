//! Which interface an object speaks, found by looking at it: nothing of the application is called.

use pyo3::{Bound, PyAny, PyResult, prelude::PyAnyMethods, types::PyType};

/// What an object looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interface {
    /// Can be awaited with scope, receive and send.
    Asgi3,
    /// Takes a scope and returns a second callable.
    Asgi2,
    /// Takes environ and start_response.
    Wsgi,
    /// Takes nothing: makes an application.
    Factory,
    /// Cannot be called.
    None,
}

/// Looks at `object`.
pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<Interface> {
    let inspect = object.py().import("inspect")?;
    if let Ok(class) = object.cast::<PyType>() {
        return of_class(class);
    }
    if !object.is_callable() {
        return Ok(Interface::None);
    }
    let is_coroutine = |candidate: &Bound<'_, PyAny>| -> PyResult<bool> {
        inspect.call_method1("iscoroutinefunction", (candidate,))?.extract()
    };
    if is_coroutine(object)? {
        return Ok(Interface::Asgi3);
    }
    let call = object.get_type().getattr("__call__")?;
    if is_coroutine(&call)? {
        return Ok(Interface::Asgi3);
    }
    Ok(of_signature(required_parameters(object)))
}

/// A class is ASGI 3 when its instances can be awaited; otherwise it is called with the scope, which is ASGI 2.
fn of_class(class: &Bound<'_, PyType>) -> PyResult<Interface> {
    if class.hasattr("__await__")? {
        return Ok(Interface::Asgi3);
    }
    Ok(match required_parameters(class.as_any()) {
        Some(0) => Interface::Factory,
        Some(2) => Interface::Wsgi,
        Some(3) => Interface::Asgi3,
        Some(_) | None => Interface::Asgi2,
    })
}

fn of_signature(required: Option<usize>) -> Interface {
    match required {
        Some(0) => Interface::Factory,
        Some(1) => Interface::Asgi2,
        Some(2) => Interface::Wsgi,
        // Three, or nobody knows: a compiled function, a wrapper with *args. It is called and shows what it returns.
        Some(_) | None => Interface::Asgi3,
    }
}

/// Positional parameters without a default. None when they cannot be known, or the callable takes any number.
fn required_parameters(object: &Bound<'_, PyAny>) -> Option<usize> {
    let inspect = object.py().import("inspect").ok()?;
    let signature = inspect.call_method1("signature", (object,)).ok()?;
    let empty = inspect.getattr("Parameter").ok()?.getattr("empty").ok()?;
    let mut required = 0;
    for parameter in signature.getattr("parameters").ok()?.call_method0("values").ok()?.try_iter().ok()? {
        let parameter = parameter.ok()?;
        let kind: String = parameter.getattr("kind").ok()?.getattr("name").ok()?.extract().ok()?;
        match kind.as_str() {
            "VAR_POSITIONAL" => return None,
            "POSITIONAL_ONLY" | "POSITIONAL_OR_KEYWORD" if parameter.getattr("default").ok()?.is(&empty) => {
                required += 1;
            }
            _ => {}
        }
    }
    Some(required)
}
