//! From the settings to what the engine is told to believe and to say, for every driver of the engine.

use protocol::settings::{
    AutomaticField, ForwardedHeader, ForwarderHeader, ForwardingSettings, ProxyProtocol, ReplyFieldSettings,
    SecureSchemeHeader, TrustedPeer, WorkerSettings,
};
use worker_server::{
    ForwardedField, ForwarderField, Forwarding, Policy, ProxyVersions, ReplyFields, SecureSchemeField,
};

/// The engine's policy as the settings say it.
#[must_use]
pub fn policy(settings: &WorkerSettings) -> Policy {
    let ForwardingSettings {
        forwarded_headers,
        secure_scheme_headers,
        forwarder_headers,
        forwarded_allow_ips,
        proxy_protocol,
        proxy_allow_ips,
    } = &settings.forwarding;
    let secure = |header: &SecureSchemeHeader| SecureSchemeField {
        name: header.name.clone().into_bytes(),
        value: header.value.clone().into_bytes(),
    };
    let forwarder = |header: &ForwarderHeader| ForwarderField::named(header.name().as_bytes());
    Policy {
        forwarding: Forwarding {
            fields: forwarded_headers.iter().map(|header| field(*header)).collect(),
            secure_scheme: secure_scheme_headers.iter().map(secure).collect(),
            forwarder: forwarder_headers.iter().map(forwarder).collect(),
            from: peers(forwarded_allow_ips),
        },
        proxy_protocol: match versions(*proxy_protocol) {
            None => worker_server::ProxyProtocol::Off,
            Some(versions) => {
                worker_server::ProxyProtocol::Expected { versions, from: peers(proxy_allow_ips) }
            }
        },
        reply_fields: reply_fields(&settings.reply_fields),
    }
}

fn reply_fields(settings: &ReplyFieldSettings) -> ReplyFields {
    let automatic = |field: &AutomaticField| match field {
        AutomaticField::Date => worker_server::AutomaticField::Date,
        AutomaticField::Server => worker_server::AutomaticField::Server,
    };
    ReplyFields {
        automatic: settings.automatic.iter().map(automatic).collect(),
        added: settings.added.iter().map(|field| (field.name.clone(), field.value.clone())).collect(),
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
        ForwardedHeader::XScriptName => ForwardedField::ScriptName,
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
