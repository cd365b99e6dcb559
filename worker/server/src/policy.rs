//! What the operator decided about requests and replies beyond their bounds: whom to believe, and which fields each reply has. As
//! values that the driver gives; no defaults, because whoever reads the configuration owns them.

use crate::{
    Peer,
    forwarded::{Forwarding, TrustedPeers},
    proxy_protocol::Versions,
};

/// The decisions that hold for every connection of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Which header fields of a proxy are believed, and from whom.
    pub forwarding: Forwarding,
    /// Whether connections begin with a PROXY header.
    pub proxy_protocol: ProxyProtocol,
    /// Which fields each reply has.
    pub reply_fields: ReplyFields,
}

/// The fields that each reply has, whatever the application says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyFields {
    /// Those that the engine makes, where the application has none of its own.
    pub automatic: Vec<AutomaticField>,
    /// Those that the operator wrote: valid names in lower case, and values without control characters.
    pub added: Vec<(String, String)>,
}

/// A field that the engine makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutomaticField {
    /// The time (RFC 9110 §6.6.1).
    Date,
    /// The name of the program.
    Server,
}

/// Whether connections begin with a PROXY header. Never guessed: a peer either must send one, or its bytes are HTTP from the
/// first, as the protocol's specification demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// They do not.
    Off,
    /// Those of trusted peers do; those of others do not.
    Expected {
        /// What the header may be.
        versions: Versions,
        /// Who must send it.
        from: TrustedPeers,
    },
}

impl ProxyProtocol {
    /// What a peer must send first; None for nothing.
    pub(crate) fn expected_of(&self, peer: &Peer) -> Option<Versions> {
        match self {
            Self::Off => None,
            Self::Expected { versions, from } => from.contains(peer).then_some(*versions),
        }
    }
}

impl Policy {
    /// Nobody is believed; replies have the usual fields.
    #[must_use]
    pub fn trusting_nobody() -> Self {
        Self {
            forwarding: Forwarding {
                fields: Vec::new(),
                secure_scheme: Vec::new(),
                forwarder: Vec::new(),
                from: TrustedPeers::default(),
            },
            proxy_protocol: ProxyProtocol::Off,
            reply_fields: ReplyFields {
                automatic: vec![AutomaticField::Date, AutomaticField::Server],
                added: Vec::new(),
            },
        }
    }
}
