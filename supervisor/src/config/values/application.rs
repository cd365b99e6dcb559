//! The kinds of value that say how an application is run and what it speaks. Knows no setting by name.

use std::{marker::PhantomData, str::FromStr};

use protocol::settings::{Interface, Lifespan};
use serde::{Deserialize, Deserializer};

use super::{ScalarVisitor, ValueError, refuse};

/// How a worker runs its application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerClass {
    /// One event-loop thread.
    Async,
    /// The same, asked for by a name of another server.
    AsyncByAlias,
    /// WSGI on threads.
    Threads,
    /// The same, asked for by gunicorn's name.
    ThreadsByAlias,
    /// WSGI, one request at a time.
    Sync,
}

impl FromStr for WorkerClass {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "async" => Ok(Self::Async),
            "asgi" | "uvicorn.workers.UvicornWorker" | "uvicorn_worker.UvicornWorker" => {
                Ok(Self::AsyncByAlias)
            }
            "threads" => Ok(Self::Threads),
            "gthread" => Ok(Self::ThreadsByAlias),
            "sync" => Ok(Self::Sync),
            "command" => refuse(format!(
                "the worker class `{text}` is not there yet: use `async`, `threads` or `sync`"
            )),
            "gevent" | "eventlet" => refuse(format!(
                "there is no worker class `{text}`: green threads patch the whole interpreter; use `threads` for WSGI, `async` for ASGI"
            )),
            "tornado" => {
                refuse(format!("there is no worker class `{text}`: use `threads` for WSGI, `async` for ASGI"))
            }
            _ => refuse(format!("there is no worker class `{text}`: use `async`, `threads` or `sync`")),
        }
    }
}

/// What the application speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InterfaceChoice {
    /// What a Python application speaks, as the worker is told.
    Python(Interface),
    /// The application is a directory of CGI programs, or one of them.
    Cgi,
}

impl InterfaceChoice {
    /// What is looked for in a Python application.
    #[must_use]
    pub fn of_python(self) -> Interface {
        match self {
            Self::Python(interface) => interface,
            Self::Cgi => Interface::Auto,
        }
    }
}

impl FromStr for InterfaceChoice {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "auto" => Ok(Self::Python(Interface::Auto)),
            "asgi3" => Ok(Self::Python(Interface::Asgi3)),
            "asgi2" => Ok(Self::Python(Interface::Asgi2)),
            "wsgi" => Ok(Self::Python(Interface::Wsgi)),
            "cgi" => Ok(Self::Cgi),
            _ => refuse(format!("`{text}` is no interface: write auto, asgi3, asgi2, wsgi or cgi")),
        }
    }
}

/// ASGI lifespan, as the worker is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LifespanChoice(pub Lifespan);

impl FromStr for LifespanChoice {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "auto" => Ok(Self(Lifespan::Auto)),
            "on" => Ok(Self(Lifespan::On)),
            "off" => Ok(Self(Lifespan::Off)),
            _ => refuse(format!("`{text}` is no lifespan mode: write auto, on or off")),
        }
    }
}

read_from_scalars!(WorkerClass, InterfaceChoice, LifespanChoice);

#[cfg(test)]
mod tests {
    use super::WorkerClass;

    #[test]
    fn classes_that_do_not_work_yet_are_named() {
        assert_eq!("async".parse(), Ok(WorkerClass::Async));
        assert_eq!("uvicorn.workers.UvicornWorker".parse(), Ok(WorkerClass::AsyncByAlias));
        assert_eq!("gthread".parse(), Ok(WorkerClass::ThreadsByAlias));
        assert_eq!("sync".parse(), Ok(WorkerClass::Sync));
        for text in ["command", "gevent", "eventlet", "tornado", "nonsense"] {
            let error = text.parse::<WorkerClass>().expect_err(text);
            assert!(error.0.contains(text), "{error}");
        }
    }
}
