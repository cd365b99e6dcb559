//! Binds sockets for a worker that runs alone. Under a supervisor they are inherited instead.

use std::{
    fmt::Display,
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs as _},
    os::unix::{
        fs::FileTypeExt as _,
        net::{UnixListener, UnixStream},
    },
    path::Path,
};

use protocol::settings::WorkerSettings;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    error::{StartError, StartErrorKind},
    inherited_sockets::{Inherited, Listener},
    scoreboard_mapping::{EvidenceTable, Scoreboard},
};

/// Connections that may wait to be accepted; the system cuts it to net.core.somaxconn (4096 by default).
const BACKLOG: i32 = 4096;

/// Binds every address, and bundles the sockets with `settings` and memory of the worker's own.
///
/// # Errors
/// [`StartError`] naming the address that cannot be had.
pub fn on(settings: WorkerSettings, binds: &[String]) -> Result<Inherited, StartError> {
    let listeners = binds.iter().map(|bind_to| bind(bind_to)).collect::<Result<Vec<_>, _>>()?;
    Ok(Inherited {
        settings,
        control: None,
        listeners,
        scoreboard: Scoreboard::private()?,
        evidence: EvidenceTable::private()?,
        evidence_text: None,
        credentials: None,
        slot: 1,
        generation: 1,
    })
}

/// Binds one address: `host:port`, `[v6]:port` or `unix:/path`. Port 0 lets the system choose.
fn bind(address: &str) -> Result<Listener, StartError> {
    match address.strip_prefix("unix:") {
        Some(path) => bind_unix(Path::new(path)),
        None => bind_tcp(address),
    }
}

fn bind_tcp(text: &str) -> Result<Listener, StartError> {
    let wrong =
        |kind, cause: &dyn Display| StartError::new(kind, format!("cannot listen on {text}: {cause}"));
    let addresses: Vec<SocketAddr> = text
        .to_socket_addrs()
        .map_err(|error| {
            wrong(StartErrorKind::Usage, &format_args!("{error} (write host:port, [v6]:port or unix:/path)"))
        })?
        .collect();
    let mut refused = wrong(StartErrorKind::Usage, &"the name has no address");
    for address in addresses {
        match listen_on(address) {
            Ok(listener) => return Ok(Listener::Tcp(listener)),
            Err(error) => refused = wrong(kind_of(&error), &in_words(&error)),
        }
    }
    Err(refused)
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket =
        Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    // A restart must not wait for the connections of its predecessor to time out.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bind_unix(path: &Path) -> Result<Listener, StartError> {
    let wrong = |kind, cause: &dyn Display| {
        StartError::new(kind, format!("cannot listen on unix:{}: {cause}", path.display()))
    };
    match path.symlink_metadata() {
        Ok(there) if !there.file_type().is_socket() => {
            return Err(wrong(
                StartErrorKind::AddressInUse,
                &"there is a file that is no socket; remove it or choose another path",
            ));
        }
        Ok(_socket) if UnixStream::connect(path).is_ok() => {
            return Err(wrong(StartErrorKind::AddressInUse, &"another process is listening there"));
        }
        // Left behind by a process that is gone.
        Ok(_socket) => {
            std::fs::remove_file(path).map_err(|error| wrong(kind_of(&error), &in_words(&error)))?;
        }
        Err(_nothing_there) => {}
    }
    let listener = UnixListener::bind(path).map_err(|error| wrong(kind_of(&error), &in_words(&error)))?;
    listener.set_nonblocking(true).map_err(|error| wrong(kind_of(&error), &in_words(&error)))?;
    Ok(Listener::Unix(listener))
}

fn kind_of(error: &io::Error) -> StartErrorKind {
    match error.kind() {
        io::ErrorKind::AddrInUse => StartErrorKind::AddressInUse,
        io::ErrorKind::PermissionDenied => StartErrorKind::Permission,
        _ => StartErrorKind::Os,
    }
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the address is in use; stop whoever holds it or choose another with --bind".to_owned()
        }
        io::ErrorKind::PermissionDenied => format!("{error} (ports below 1024 need CAP_NET_BIND_SERVICE)"),
        _ => error.to_string(),
    }
}
