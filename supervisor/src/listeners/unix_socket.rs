//! Unix sockets that are listened on: made, given to whom they shall belong, and removed with their listener.
//! Their permissions are set on the file that was made, never on a path that another could have put something else at.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{
            fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
            net::UnixStream,
        },
    },
    path::{Display, Path, PathBuf},
};

use nix::{
    fcntl::{AtFlags, OFlag},
    unistd::{Gid, Group, Uid, User, fchownat},
};
use socket2::{Domain, SockAddr, Socket, Type};

use super::BACKLOG;
use crate::{
    config::{
        settings::unix_socket::UnixSocketSettings,
        values::{DEFAULT_UNIX_SOCKET_MODE, Owner},
    },
    error::{ExitStatus, Expected, ExpectedError},
};

/// Who may connect to a unix socket. Connecting needs the right to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Permission bits.
    pub mode: u32,
    /// Its user, if not ours.
    pub user: Option<Uid>,
    /// Its group, if not ours.
    pub group: Option<Gid>,
}

impl Default for Access {
    fn default() -> Self {
        Self { mode: DEFAULT_UNIX_SOCKET_MODE, user: None, group: None }
    }
}

/// The path of a unix socket that we made. Removed with the socket, unless somebody else has put his own there since.
#[derive(Debug)]
pub(super) struct SocketPath {
    path: PathBuf,
    inode: u64,
}

impl Access {
    /// Finds the user and the group that are named.
    ///
    /// # Errors
    /// Exit 2 for one that this machine does not know.
    pub fn find(settings: &UnixSocketSettings) -> Expected<Self> {
        let unknown = |what: &str, name: &str| {
            let message = format!("--unix-socket-owner: there is no {what} `{name}` on this machine");
            ExpectedError::new("settings/owner", ExitStatus::Usage, message)
        };
        let Some(Owner { user, group }) = &settings.owner else {
            return Ok(Self { mode: settings.mode.0, user: None, group: None });
        };
        let user_id = |name: &str| match name.parse() {
            Ok(number) => Ok(Uid::from_raw(number)),
            Err(_) => match User::from_name(name) {
                Ok(Some(user)) => Ok(user.uid),
                Ok(None) | Err(_) => Err(unknown("user", name)),
            },
        };
        let group_id = |name: &str| match name.parse() {
            Ok(number) => Ok(Gid::from_raw(number)),
            Err(_) => match Group::from_name(name) {
                Ok(Some(group)) => Ok(group.gid),
                Ok(None) | Err(_) => Err(unknown("group", name)),
            },
        };
        Ok(Self {
            mode: settings.mode.0,
            user: user.as_deref().map(user_id).transpose()?,
            group: group.as_deref().map(group_id).transpose()?,
        })
    }
}

impl SocketPath {
    /// For people.
    pub(super) fn display(&self) -> Display<'_> {
        self.path.display()
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|data| data.ino() == self.inode) {
            let _left_behind = fs::remove_file(&self.path);
        }
    }
}

/// Binds and listens. Nobody can connect before the socket is whose it shall be: until it listens, the kernel refuses.
pub(super) fn bind(path: &Path, access: Access) -> Expected<(OwnedFd, SocketPath)> {
    replace_stale_socket(path)?;
    let bound = || -> io::Result<(Socket, SocketPath)> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let inode = fs::symlink_metadata(path)?.ino();
        Ok((socket, SocketPath { path: path.to_owned(), inode }))
    };
    let (socket, bound_path) = bound().map_err(|error| unix_error(path, &error))?;
    grant(path, bound_path.inode, access).map_err(|error| access_error(path, &error))?;
    socket.listen(BACKLOG).map_err(|error| unix_error(path, &error))?;
    Ok((socket.into(), bound_path))
}

/// Sets owner and mode of the socket itself: what else may stand at its path by now is not touched.
fn grant(path: &Path, inode: u64, access: Access) -> io::Result<()> {
    let flags = (OFlag::O_PATH | OFlag::O_NOFOLLOW).bits();
    let file: File = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    if !found.file_type().is_socket() || found.ino() != inode {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another file has taken its place"));
    }
    if access.user.is_some() || access.group.is_some() {
        fchownat(&file, "", access.user, access.group, AtFlags::AT_EMPTY_PATH)?;
    }
    // Such a descriptor takes no fchmod(); its entry in /proc leads to the file and to nothing else.
    let entry = format!("/proc/self/fd/{}", file.as_raw_fd());
    fs::set_permissions(entry, fs::Permissions::from_mode(access.mode))
}

fn access_error(path: &Path, error: &io::Error) -> ExpectedError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => ExpectedError::new(
            "bind/owner",
            ExitStatus::Permission,
            format!("unix:{} may not be given to another user or group by this user", path.display()),
        )
        .help("without root, --unix-socket-owner can only name a group that this user is in: `:group`"),
        _ => unix_error(path, error),
    }
}

/// A socket file whose owner is gone is in the way of nobody; one that answers belongs to somebody.
fn replace_stale_socket(path: &Path) -> Expected<()> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    let taken = |what: &str| {
        ExpectedError::new("bind/in-use", ExitStatus::Unavailable, format!("unix:{} {what}", path.display()))
    };
    if !found.file_type().is_socket() {
        return Err(taken("is there and is no socket").help("remove it, or choose another path"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| unix_error(path, &error))
        }
        Ok(_) => Err(taken("is in use: somebody answers there").help("stop it, or choose another path")),
        Err(error) => Err(unix_error(path, &error)),
    }
}

fn unix_error(path: &Path, error: &io::Error) -> ExpectedError {
    let name = format!("unix:{}", path.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied => ExpectedError::new(
            "bind/not-permitted",
            ExitStatus::Permission,
            format!("{name} may not be made by this user"),
        ),
        io::ErrorKind::NotFound => ExpectedError::new(
            "bind/no-directory",
            ExitStatus::Usage,
            format!("the directory of {name} is not there"),
        ),
        // Before the path could be too long, the kernel would say so with this error.
        io::ErrorKind::InvalidInput => ExpectedError::new(
            "bind/path",
            ExitStatus::Usage,
            format!("{name} is too long: 107 bytes are possible"),
        ),
        io::ErrorKind::AddrInUse => ExpectedError::new(
            "bind/in-use",
            ExitStatus::Unavailable,
            format!("{name} was taken by another just now"),
        ),
        _ => {
            ExpectedError::new("bind/failed", ExitStatus::OsError, format!("{name} cannot be bound: {error}"))
        }
    }
}
