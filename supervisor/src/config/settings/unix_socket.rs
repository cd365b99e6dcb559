//! Who may use the unix sockets, and the mask of what is made.

use crate::{
    config::{
        raw::RawSettings,
        values::{BindAddress, DEFAULT_UNIX_SOCKET_MODE, FileMode, Owner},
    },
    error::{ExitStatus, Expected, ExpectedError},
};

/// Mode and owner of every unix socket that is listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixSocketSettings {
    /// Permission bits.
    pub mode: FileMode,
    /// Whose it is, if not ours.
    pub owner: Option<Owner>,
}

/// A mask takes rights away from the usual mode, as in gunicorn; a mode is taken as it is.
///
/// # Errors
/// Exit 2 where there is no socket that they could be for.
pub(super) fn settle(raw: &RawSettings, bind: &[BindAddress]) -> Expected<UnixSocketSettings> {
    let is_unix = |address: &BindAddress| match address {
        BindAddress::Unix(_) => true,
        BindAddress::Tcp { .. } => false,
    };
    let given = [
        ("unix-socket-mode", raw.unix_socket_mode.is_some()),
        ("unix-socket-owner", raw.unix_socket_owner.is_some()),
    ];
    let first = given.into_iter().find_map(|(name, is_given)| is_given.then_some(name));
    if let Some(name) = first
        && !bind.iter().chain(&raw.insecure_bind).any(is_unix)
    {
        let message = format!("--{name} has no effect: no --bind is a unix socket");
        return Err(ExpectedError::new("settings/idle", ExitStatus::Usage, message)
            .help("leave it out, or listen on one: --bind unix:/run/app.sock"));
    }
    let masked = DEFAULT_UNIX_SOCKET_MODE & !raw.umask.map_or(0, |mask| mask.0);
    Ok(UnixSocketSettings {
        mode: raw.unix_socket_mode.unwrap_or(FileMode(masked)),
        owner: raw.unix_socket_owner.clone(),
    })
}
