//! Listening sockets: bound before anything is started, held by the supervisor for its whole life and inherited by every worker, so
//! that a worker that dies or leaves never takes the queue of waiting connections with it. Accepts nothing itself.

mod unix_socket;

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use socket2::{Domain, SockRef, Socket, Type};

pub use self::unix_socket::Access;
use self::unix_socket::SocketPath;
use crate::{
    activation::HandedSocket,
    config::values::BindAddress,
    error::{ExitStatus, Expected, ExpectedError},
    port_holder,
};

/// Connections that wait to be accepted; the kernel cuts it to net.core.somaxconn. gunicorn's.
const BACKLOG: i32 = 2048;
/// Bytes of a reply that the kernel takes beyond what it has sent; connections inherit it from their listener. Without it each client that
/// does not read holds as much as net.ipv4.tcp_wmem allows: 2.8 MB measured. Large enough that a fast client never finds it empty.
const UNSENT_BYTES: u32 = 128 * 1024;
/// Congestion control of connections that never leave this machine, as those of a proxy beside us: on loopback nothing is congested, and
/// the pacing of BBR, where the system's default is that, costs more than the rest of a download (1 MiB: 493 against 266 µs of CPU). Every
/// kernel has this one and lets everybody choose it (tcp(7)).
const LOOPBACK_CONGESTION_CONTROL: &[u8] = b"reno";

/// What is spoken first on the connections of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP in the clear.
    Http,
    /// TLS.
    Https,
}

/// One bound socket.
#[derive(Debug)]
pub struct Listener {
    scheme: Scheme,
    socket: OwnedFd,
    /// With the port that the system chose.
    bound: Bound,
}

#[derive(Debug)]
enum Bound {
    Tcp(SocketAddr),
    Unix(SocketPath),
    /// By whoever started us, who will go on listening there: its path, if it has one, is not ours to remove.
    Handed {
        address: BindAddress,
        name: Option<String>,
    },
}

impl Listener {
    /// Binds and listens; `access` is for a unix socket.
    ///
    /// # Errors
    /// Exit 69 for an address that is taken, with its holder; 77 for one that is not permitted; 2 for one that does not exist.
    pub fn bind(
        address: &BindAddress,
        all: &[BindAddress],
        scheme: Scheme,
        access: Access,
    ) -> Expected<Self> {
        let (socket, bound) = match address {
            BindAddress::Tcp { host, port } => bind_tcp(host, *port, all)?,
            BindAddress::Unix(path) => {
                let (socket, path) = unix_socket::bind(path, access)?;
                (socket, Bound::Unix(path))
            }
        };
        Ok(Self { scheme, socket, bound })
    }

    /// A socket that was handed over. It gets what our own have, except for its queue, whose length its maker has chosen.
    #[must_use]
    pub fn handed(handed: HandedSocket, scheme: Scheme) -> Self {
        let HandedSocket { name, address, socket } = handed;
        if let BindAddress::Tcp { host, .. } = &address {
            let tcp = SockRef::from(&socket);
            // They spare memory and time; without them it is served as well.
            let _spared = tcp.set_tcp_notsent_lowat(UNSENT_BYTES);
            if host.parse::<IpAddr>().is_ok_and(|host| host.is_loopback()) {
                let _spared = tcp.set_tcp_congestion(LOOPBACK_CONGESTION_CONTROL);
            }
        }
        Self { scheme, socket, bound: Bound::Handed { address, name } }
    }

    /// How whoever handed the socket over calls it; nothing for one that we bound.
    #[must_use]
    pub fn handed_as(&self) -> Option<&str> {
        match &self.bound {
            Bound::Tcp(_) | Bound::Unix(_) => None,
            Bound::Handed { name, .. } => Some(name.as_deref().unwrap_or("no name")),
        }
    }

    /// As people and tests read it: `http://127.0.0.1:8000`, `unix:/run/app.sock`.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        match &self.bound {
            Bound::Tcp(address) => format!("{scheme}://{address}"),
            Bound::Handed { address: address @ BindAddress::Tcp { .. }, .. } => {
                format!("{scheme}://{address}")
            }
            Bound::Handed { address: BindAddress::Unix(path), .. } => format!("unix:{}", path.display()),
            Bound::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// Its socket, for the runtime of the metrics server.
    #[must_use]
    pub fn into_socket(self) -> OwnedFd {
        self.socket
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn bind_tcp(host: &str, port: u16, all: &[BindAddress]) -> Expected<(OwnedFd, Bound)> {
    let name = BindAddress::Tcp { host: host.to_owned(), port };
    let address = match (host, port).to_socket_addrs().map(|mut found| found.next()) {
        Ok(Some(address)) => address,
        Ok(None) | Err(_) => {
            let error = ExpectedError::new(
                "bind/unknown-host",
                ExitStatus::Usage,
                format!("the host of {name} is not known"),
            );
            return Err(error.help("write an address of this machine, as 127.0.0.1 or 0.0.0.0"));
        }
    };
    let listen = || -> io::Result<(OwnedFd, Bound)> {
        // CLOEXEC is set by socket2; workers share the description, so this one call makes it non-blocking for all.
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() && has_ipv4_twin(address, all) {
            socket.set_only_v6(true)?;
        }
        socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
        if address.ip().is_loopback() {
            socket.set_tcp_congestion(LOOPBACK_CONGESTION_CONTROL)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let address = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok((socket.into(), Bound::Tcp(address)))
    };
    listen().map_err(|error| tcp_error(&name, address, &error))
}

/// `[::]` takes the IPv4 port too, unless that is asked for separately.
fn has_ipv4_twin(address: SocketAddr, all: &[BindAddress]) -> bool {
    all.iter().any(|other| match other {
        BindAddress::Tcp { host, port } => {
            *port == address.port() && host.parse::<std::net::Ipv4Addr>().is_ok()
        }
        BindAddress::Unix(_) => false,
    })
}

fn tcp_error(name: &BindAddress, address: SocketAddr, error: &io::Error) -> ExpectedError {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let holder = port_holder::find(address).map_or(String::new(), |holder| format!(" by {holder}"));
            let mut free = address;
            free.set_port(address.port().checked_add(1).unwrap_or(0));
            ExpectedError::new("bind/in-use", ExitStatus::Unavailable, format!("{name} is in use{holder}"))
                .help(format!("stop it, or listen elsewhere: --bind {free}"))
        }
        io::ErrorKind::PermissionDenied => ExpectedError::new(
            "bind/not-permitted",
            ExitStatus::Permission,
            format!("{name} may not be bound by this user"),
        )
        .help(
            "ports below 1024 need the capability CAP_NET_BIND_SERVICE: use --bind with a port from 1024 up",
        )
        .help("or let systemd grant it: AmbientCapabilities=CAP_NET_BIND_SERVICE"),
        io::ErrorKind::AddrNotAvailable => ExpectedError::new(
            "bind/not-here",
            ExitStatus::Usage,
            format!("{name} is no address of this machine"),
        )
        .help("`ip address` lists them; 0.0.0.0 is all of them"),
        _ => {
            ExpectedError::new("bind/failed", ExitStatus::OsError, format!("{name} cannot be bound: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpStream, os::unix::net::UnixListener, path::PathBuf};

    use socket2::Socket;

    use super::{Access, LOOPBACK_CONGESTION_CONTROL, Listener, Scheme, UNSENT_BYTES};
    use crate::{config::values::BindAddress, error::ExitStatus};

    fn tcp(port: u16) -> BindAddress {
        BindAddress::Tcp { host: "127.0.0.1".into(), port }
    }

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("supervise-{}-{name}", std::process::id()))
    }

    #[test]
    fn a_taken_port_names_its_holder() {
        let first = Listener::bind(&tcp(0), &[], Scheme::Http, Access::default()).expect("a free port");
        let port: u16 = first.url().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        let error = Listener::bind(&tcp(port), &[], Scheme::Http, Access::default()).expect_err("taken");
        assert_eq!(error.exit, ExitStatus::Unavailable);
        assert!(error.message.contains(&format!("pid {}", std::process::id())), "{error}");
    }

    #[test]
    fn connections_within_the_machine_are_not_paced() {
        let listener = Listener::bind(&tcp(0), &[], Scheme::Http, Access::default()).expect("a free port");
        let control = Socket::from(listener.into_socket()).tcp_congestion().expect("known");
        let end = control.iter().position(|&byte| byte == 0).unwrap_or(control.len());
        assert_eq!(&control[..end], LOOPBACK_CONGESTION_CONTROL);
    }

    #[test]
    fn connections_inherit_the_bound_of_unsent_bytes() {
        let listener = Listener::bind(&tcp(0), &[], Scheme::Http, Access::default()).expect("a free port");
        let address = listener.url().trim_start_matches("http://").to_owned();
        let socket = Socket::from(listener.into_socket());
        socket.set_nonblocking(false).expect("set");
        let _client = TcpStream::connect(address).expect("connected");
        let (accepted, _) = socket.accept().expect("accepted");
        assert_eq!(accepted.tcp_notsent_lowat().expect("known"), UNSENT_BYTES);
    }

    #[test]
    fn a_stale_unix_socket_is_replaced_and_a_living_one_is_not() {
        let path = scratch("socket");
        drop(UnixListener::bind(&path).expect("bound"));
        let address = BindAddress::Unix(path.clone());
        let ours = Listener::bind(&address, &[], Scheme::Http, Access::default())
            .expect("the stale one is replaced");
        assert_eq!(
            Listener::bind(&address, &[], Scheme::Http, Access::default()).expect_err("ours lives").exit,
            ExitStatus::Unavailable
        );
        drop(ours);
        assert!(!path.exists());
    }

    #[test]
    fn a_path_that_another_took_is_left_alone() {
        let path = scratch("taken");
        let ours = Listener::bind(&BindAddress::Unix(path.clone()), &[], Scheme::Http, Access::default())
            .expect("bound");
        std::fs::remove_file(&path).expect("there");
        std::fs::write(&path, "another's").expect("written");
        drop(ours);
        assert!(path.exists());
        assert!(
            Listener::bind(&BindAddress::Unix(path.clone()), &[], Scheme::Http, Access::default())
                .expect_err("no socket")
                .message
                .contains("no socket")
        );
        std::fs::remove_file(&path).expect("there");
    }
}
