//! The guest applications of tests/apps, put into a test's own directory, where the test may change them.

use std::{fs, path::Path};

use crate::repository;

/// An application of tests/apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guest {
    /// File name in tests/apps, without `.py`.
    pub name: &'static str,
}

impl Guest {
    /// Plain ASGI: echoes the request's id, its version and its process; blocks, sleeps, streams and dies on demand.
    pub const PLAIN: Self = Self { name: "plain" };
    /// FastAPI with routes, models, uploads, streaming and errors.
    pub const FASTAPI: Self = Self { name: "fastapi_app" };
    /// Starlette, the same.
    pub const STARLETTE: Self = Self { name: "starlette_app" };
    /// Django over ASGI, the same.
    pub const DJANGO: Self = Self { name: "django_app" };
    /// Quart, the same.
    pub const QUART: Self = Self { name: "quart_app" };
    /// Litestar, the same.
    pub const LITESTAR: Self = Self { name: "litestar_app" };
    /// A GraphQL endpoint and a stream of server-sent events.
    pub const GRAPHQL: Self = Self { name: "graphql_app" };
    /// Django with its admin, sessions, CSRF and a database.
    pub const DJANGO_ADMIN: Self = Self { name: "django_admin_app" };
    /// Plain ASGI that is attacked: echoes the request's id, takes uploads, and sends far more than a client that does not read can hold.
    pub const ATTACKED: Self = Self { name: "attacked_app" };
    /// Checks what asyncio, anyio and the ASGI contract promise to an application.
    pub const COMPAT: Self = Self { name: "compat_app" };
    /// Shows what a server does with an application, one behaviour a path.
    pub const PROBE: Self = Self { name: "probe_app" };
    /// Raises on import.
    pub const RAISES_ON_IMPORT: Self = Self { name: "raises_on_import" };
    /// Never finishes its import.
    pub const HANGS_ON_IMPORT: Self = Self { name: "hangs_on_import" };
    /// Reports that its lifespan start-up failed.
    pub const FAILS_STARTUP: Self = Self { name: "fails_startup" };
    /// Applications whose lifespan goes wrong in one way each.
    pub const LIFESPAN_CORNERS: Self = Self { name: "lifespan_corners" };
    /// Leaves the process on import.
    pub const EXITS_ON_IMPORT: Self = Self { name: "exits_on_import" };
    /// Dies shortly after it became ready, unless the file `survivor` names its process.
    pub const DIES_AFTER_READY: Self = Self { name: "dies_after_ready" };
    /// Tells in what surroundings it runs.
    pub const TELLS: Self = Self { name: "tells_app" };
    /// Keeps to one rule of ASGI after the other.
    pub const ASGI_RULES: Self = Self { name: "asgi_rules" };
    /// Tells what an application sees of a request.
    pub const SCOPE: Self = Self { name: "scope_app" };
    /// Plain ASGI over WebSocket: echoes, closes, denies, raises and returns by path.
    pub const WEBSOCKET: Self = Self { name: "websocket_app" };
    /// The same chat in Starlette, FastAPI and Channels.
    pub const CHATS: Self = Self { name: "chat_apps" };
    /// Plain WSGI: one route for each rule of PEP 3333; echoes the request's id, its version and its process.
    pub const WSGI: Self = Self { name: "wsgi_app" };
    /// Flask with routes, forms, uploads, streaming, files and errors.
    pub const FLASK: Self = Self { name: "flask_app" };

    /// Its text.
    ///
    /// # Panics
    /// When it is not in the repository.
    #[must_use]
    pub fn text(self) -> String {
        let file = repository().join("tests/apps").join(format!("{}.py", self.name));
        fs::read_to_string(&file).unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()))
    }
}

/// Writes a file that a worker may read at any moment: it sees the old text or the new one, never half.
///
/// # Panics
/// When the directory cannot be written.
pub fn write_atomically(file: &Path, text: &str) {
    let mut draft = file.as_os_str().to_owned();
    draft.push(".draft");
    fs::write(&draft, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", draft.display()));
    fs::rename(&draft, file).unwrap_or_else(|error| panic!("cannot rename to {}: {error}", file.display()));
}
