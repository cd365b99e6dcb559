//! Settles how an ASGI application is called.

use protocol::{
    defaults,
    settings::{AsgiSettings, ContextVariables, OnDisconnect},
};

use super::{RawSettings, Switch};

pub(super) fn settle(raw: &RawSettings) -> AsgiSettings {
    let usual = defaults::asgi();
    AsgiSettings {
        spec_version: raw.asgi_spec_version.as_ref().map_or(usual.spec_version, |choice| choice.0),
        root_path: raw.root_path.as_ref().map_or(usual.root_path, |choice| choice.0.0.clone()),
        root_path_mode: raw.root_path_mode.as_ref().map_or(usual.root_path_mode, |choice| choice.0),
        on_disconnect: match raw.cancel_on_disconnect {
            Some(Switch::On) => OnDisconnect::Cancel,
            Some(Switch::Off) => OnDisconnect::Inform,
            None => usual.on_disconnect,
        },
        context_variables: match raw.reset_contextvars {
            Some(Switch::On) => ContextVariables::Fresh,
            Some(Switch::Off) => ContextVariables::Inherited,
            None => usual.context_variables,
        },
    }
}
