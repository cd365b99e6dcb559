//! Settles the header fields that every reply has.

use protocol::{
    defaults,
    settings::{AutomaticField, ReplyFieldSettings},
};

use super::{RawSettings, Switch};

pub(super) fn settle(raw: &RawSettings) -> ReplyFieldSettings {
    let mut automatic = defaults::reply_fields().automatic;
    let switches = [
        (AutomaticField::Date, raw.date_header, "date"),
        (AutomaticField::Server, raw.server_header, "server"),
    ];
    for (field, switch, name) in switches {
        // What the operator wrote stands in its place.
        if switch == Some(Switch::Off) || raw.header.iter().any(|added| added.name == name) {
            automatic.retain(|kept| *kept != field);
        }
    }
    ReplyFieldSettings { automatic, added: raw.header.clone() }
}
