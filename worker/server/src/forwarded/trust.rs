//! Whose word counts: peers by network, by the kind of their socket, or all of them.

use std::net::IpAddr;

use crate::Peer;

/// Peers whose word about a request's client is taken. None by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrustedPeers(Vec<TrustedPeer>);

/// Some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustedPeer {
    /// Everybody: for networks in which only the proxy can reach us.
    Everyone,
    /// Whoever connects to a unix socket.
    Unix,
    /// A network.
    Network {
        /// Its address.
        address: IpAddr,
        /// How many leading bits of it count; more than there are is all of them.
        prefix_bits: u8,
    },
}

impl TrustedPeers {
    /// Whether the other end of a connection is trusted.
    pub(crate) fn contains(&self, peer: &Peer) -> bool {
        match peer {
            Peer::Tcp(address) => self.contains_address(address.ip()),
            Peer::Unix(_) => self.0.iter().any(|it| matches!(it, TrustedPeer::Everyone | TrustedPeer::Unix)),
        }
    }

    /// Whether a host is trusted.
    pub(crate) fn contains_address(&self, host: IpAddr) -> bool {
        self.0.iter().any(|trusted| match trusted {
            TrustedPeer::Everyone => true,
            TrustedPeer::Unix => false,
            TrustedPeer::Network { address, prefix_bits } => is_within(host, *address, *prefix_bits),
        })
    }
}

impl FromIterator<TrustedPeer> for TrustedPeers {
    fn from_iter<T: IntoIterator<Item = TrustedPeer>>(peers: T) -> Self {
        Self(peers.into_iter().collect())
    }
}

fn is_within(host: IpAddr, network: IpAddr, prefix_bits: u8) -> bool {
    match (host.to_canonical(), network) {
        (IpAddr::V4(host), IpAddr::V4(network)) => {
            let rest = 32_u32.saturating_sub(prefix_bits.into());
            (host.to_bits() ^ network.to_bits()).checked_shr(rest).unwrap_or(0) == 0
        }
        (IpAddr::V6(host), IpAddr::V6(network)) => {
            let rest = 128_u32.saturating_sub(prefix_bits.into());
            (host.to_bits() ^ network.to_bits()).checked_shr(rest).unwrap_or(0) == 0
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}
