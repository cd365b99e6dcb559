//! Sockets that whoever started this program has opened for it, as sd_listen_fds(3) describes: systemd's socket units, and everybody who
//! does the same. Takes them over and proves that they can be served; binds nothing.

use std::{
    collections::BTreeMap,
    os::fd::{OwnedFd, RawFd},
};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::{
    config::values::BindAddress,
    error::{ExitStatus, Expected, ExpectedError},
    processes,
};

/// The variables of the protocol: they are meant for this process alone, and no worker gets them.
pub const VARIABLES: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"];
/// The first descriptor that is handed over; the others follow it.
const FIRST: RawFd = 3;

/// A socket that was handed over, listening and non-blocking.
#[derive(Debug)]
pub struct HandedSocket {
    /// What the socket unit calls it.
    pub name: Option<String>,
    /// Where it listens.
    pub address: BindAddress,
    /// Itself.
    pub socket: OwnedFd,
}

/// All that was handed over.
#[derive(Debug, Default)]
pub struct Activation {
    /// In the order of their descriptors.
    pub sockets: Vec<HandedSocket>,
    /// What the operator should know.
    pub remark: Option<String>,
}

impl Activation {
    /// Takes over what the environment names. Before anything else opens a descriptor, and once: each gets one owner here.
    ///
    /// # Errors
    /// Exit 2 for variables that contradict each other, and for a descriptor that cannot be served.
    pub fn take(variables: &BTreeMap<String, String>) -> Expected<Self> {
        let value =
            |name: &str| variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
        let (Some(pid), Some(count)) = (value("LISTEN_PID"), value("LISTEN_FDS")) else {
            return Ok(Self::default());
        };
        let ours = std::process::id();
        if pid
            .parse::<u32>()
            .map_err(|_error| wrong(format!("LISTEN_PID is `{pid}`, which is no process")))?
            != ours
        {
            let remark = format!(
                "the sockets of LISTEN_FDS are for process {pid} and not for this one ({ours}): they are not used"
            );
            return Ok(Self { sockets: Vec::new(), remark: Some(remark) });
        }
        let is_possible = |count: &i32| (0..=i32::from(u16::MAX)).contains(count);
        let Some(count) = count.parse::<i32>().ok().filter(is_possible) else {
            return Err(wrong(format!("LISTEN_FDS is `{count}`, which is no number of sockets")));
        };
        let names: Option<Vec<&str>> = value("LISTEN_FDNAMES").map(|names| names.split(':').collect());
        if let Some(names) = &names
            && i32::try_from(names.len()) != Ok(count)
        {
            let told = names.len();
            return Err(wrong(format!(
                "LISTEN_FDNAMES has {told} names, and LISTEN_FDS counts {count} sockets"
            )));
        }
        let name = |index: usize| {
            // What systemd says of one that nobody has named.
            let name =
                names.as_ref()?.get(index).copied().filter(|&name| !name.is_empty() && name != "unknown");
            name.map(str::to_owned)
        };
        let sockets = (FIRST..FIRST + count).enumerate().map(|(index, number)| adopt(number, name(index)));
        Ok(Self { sockets: sockets.collect::<Expected<_>>()?, remark: None })
    }

    /// Where its sockets listen.
    #[must_use]
    pub fn addresses(&self) -> Vec<BindAddress> {
        self.sockets.iter().map(|handed| handed.address.clone()).collect()
    }
}

fn wrong(message: String) -> ExpectedError {
    ExpectedError::new("bind/activation", ExitStatus::Usage, message)
        .help("whoever starts this program sets these variables as sd_listen_fds(3) says, or none of them")
}

fn adopt(number: RawFd, name: Option<String>) -> Expected<HandedSocket> {
    let called = name.as_ref().map_or(String::new(), |name| format!(" ({name})"));
    let refuse = |what: &str, help: &str| {
        let message = format!("descriptor {number}{called} of LISTEN_FDS {what}");
        Err(ExpectedError::new("bind/activation", ExitStatus::Usage, message).help(help))
    };
    let stream = "a socket unit for supervise has ListenStream= with an address or a path";
    let Ok(descriptor) = processes::adopt_descriptor(number) else {
        return refuse("is not open", "whoever starts this program passes the sockets on from descriptor 3");
    };
    let socket = Socket::from(descriptor);
    let kind = match socket.r#type() {
        Ok(kind) => kind,
        Err(error) if error.raw_os_error() == Some(libc::ENOTSOCK) => return refuse("is no socket", stream),
        Err(error) => return refuse(&format!("is unusable: {error}"), stream),
    };
    if kind != Type::STREAM {
        let what = if kind == Type::DGRAM { "is a datagram socket" } else { "is no stream socket" };
        return refuse(what, stream);
    }
    let address = match socket.local_addr().and_then(|address| Ok((socket.domain()?, address))) {
        Ok((Domain::IPV4 | Domain::IPV6 | Domain::UNIX, address)) => address_of(&address),
        Ok(_) => None,
        Err(error) => return refuse(&format!("is unusable: {error}"), stream),
    };
    let Some(address) = address else {
        return refuse("is neither a TCP nor a unix socket with an address", stream);
    };
    if !socket.is_listener().unwrap_or(false) {
        return refuse("is a connection, not a listening socket", "set Accept=no in the socket unit");
    }
    match socket.set_nonblocking(true) {
        Ok(()) => Ok(HandedSocket { name, address, socket: socket.into() }),
        Err(error) => refuse(&format!("is unusable: {error}"), stream),
    }
}

fn address_of(address: &SockAddr) -> Option<BindAddress> {
    if let Some(address) = address.as_socket() {
        return Some(BindAddress::Tcp { host: address.ip().to_string(), port: address.port() });
    }
    if let Some(path) = address.as_pathname() {
        return Some(BindAddress::Unix(path.to_owned()));
    }
    let name = address.as_abstract_namespace()?;
    Some(BindAddress::Unix(format!("@{}", String::from_utf8_lossy(name)).into()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Activation;

    fn taken(pid: &str, count: &str, names: &str) -> Result<Activation, String> {
        let entries = [("LISTEN_PID", pid), ("LISTEN_FDS", count), ("LISTEN_FDNAMES", names)];
        let variables: BTreeMap<_, _> =
            entries.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
        Activation::take(&variables).map_err(|error| error.message)
    }

    #[test]
    fn nothing_is_taken_that_is_not_for_us() {
        assert!(taken("", "1", "").is_ok_and(|activation| activation.sockets.is_empty()));
        let of_another = taken("1", "1", "").expect("no error");
        assert!(of_another.sockets.is_empty() && of_another.remark.is_some());
        let ours = std::process::id().to_string();
        assert!(taken(&ours, "0", "").is_ok_and(|activation| activation.sockets.is_empty()));
    }

    #[test]
    fn variables_that_contradict_each_other_are_refused() {
        let ours = std::process::id().to_string();
        assert!(taken("me", "1", "").is_err());
        assert!(taken(&ours, "many", "").is_err());
        assert!(taken(&ours, "-1", "").is_err());
        assert!(taken(&ours, "1", "a:b").is_err_and(|message| message.contains("2 names")));
    }
}
