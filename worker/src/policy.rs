//! From the settings to what the engine is told to believe, for every driver of the engine.

use protocol::settings::{ForwardedHeader, ForwardingSettings, ProxyProtocol, TrustedPeer};
use worker_server::{ForwardedField, Forwarding, Policy, ProxyVersions};

/// The engine's policy as the settings say it.
#[must_use]
pub fn policy(forwarding: &ForwardingSettings) -> Policy {
    Policy {
        forwarding: Forwarding {
            fields: forwarding.forwarded_headers.iter().map(|header| field(*header)).collect(),
            from: peers(&forwarding.forwarded_allow_ips),
        },
        proxy_protocol: match versions(forwarding.proxy_protocol) {
            None => worker_server::ProxyProtocol::Off,
            Some(versions) => {
                worker_server::ProxyProtocol::Expected { versions, from: peers(&forwarding.proxy_allow_ips) }
            }
        },
    }
}

fn versions(protocol: ProxyProtocol) -> Option<ProxyVersions> {
    match protocol {
        ProxyProtocol::Off => None,
        ProxyProtocol::V1 => Some(ProxyVersions::One),
        ProxyProtocol::V2 => Some(ProxyVersions::Two),
        ProxyProtocol::Auto => Some(ProxyVersions::Both),
    }
}

fn field(header: ForwardedHeader) -> ForwardedField {
    match header {
        ForwardedHeader::XForwardedFor => ForwardedField::For,
        ForwardedHeader::XForwardedProto => ForwardedField::Proto,
        ForwardedHeader::XForwardedHost => ForwardedField::Host,
        ForwardedHeader::XForwardedPort => ForwardedField::Port,
        ForwardedHeader::XForwardedPrefix => ForwardedField::Prefix,
        ForwardedHeader::Forwarded => ForwardedField::Rfc7239,
    }
}

fn peers(peers: &[TrustedPeer]) -> worker_server::TrustedPeers {
    let peer = |peer: &TrustedPeer| match *peer {
        TrustedPeer::Everyone => worker_server::TrustedPeer::Everyone,
        TrustedPeer::Unix => worker_server::TrustedPeer::Unix,
        TrustedPeer::Network { address, prefix_bits } => {
            worker_server::TrustedPeer::Network { address, prefix_bits }
        }
    };
    peers.iter().map(peer).collect()
}
