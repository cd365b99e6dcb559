//! The forms in which a file or the environment may write a setting that has several values.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use protocol::settings::ReplyField;
use serde::{Deserialize, Deserializer, de};

use crate::config::values::{BindAddress, EnvironmentEntry};

/// `bind: A` and `bind: [A, B]`; in the environment `A,B`.
pub(super) fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<BindAddress>, D::Error> {
    struct Addresses;
    impl<'de> de::Visitor<'de> for Addresses {
        type Value = Vec<BindAddress>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an address or a list of addresses")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            text.split(',').map(|address| address.trim().parse().map_err(E::custom)).collect()
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut addresses = Vec::new();
            while let Some(address) = list.next_element()? {
                addresses.push(address);
            }
            Ok(addresses)
        }
    }
    deserializer.deserialize_any(Addresses)
}

/// `certfile: A` and `certfile: [A, B]`; in the environment `A,B`.
pub(super) fn one_or_many_paths<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<PathBuf>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "write a path or a list of paths")]
    enum Written {
        One(String),
        Many(Vec<PathBuf>),
    }
    match Written::deserialize(deserializer)? {
        Written::One(text) => Ok(text.split(',').map(|path| PathBuf::from(path.trim())).collect()),
        Written::Many(paths) => Ok(paths),
    }
}

/// `header: ["Name: value"]` and `header: {Name: value}`; in the environment one `Name: value`.
pub(super) fn fields<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ReplyField>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "write a list of `Name: value`, or a map of names and texts")]
    enum Written {
        One(String),
        List(Vec<String>),
        Map(BTreeMap<String, String>),
    }
    let texts = match Written::deserialize(deserializer)? {
        Written::One(text) => vec![text],
        Written::List(texts) => texts,
        Written::Map(map) => map.into_iter().map(|(name, value)| format!("{name}:{value}")).collect(),
    };
    texts.into_iter().map(|text| text.parse().map_err(de::Error::custom)).collect()
}

/// `env: {KEY: VALUE}` and `env: [KEY=VALUE]`.
pub(super) fn map_or_list<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<EnvironmentEntry>, D::Error> {
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "write a map of names and texts (numbers in quotes), or a list of KEY=VALUE"
    )]
    enum Written {
        Map(BTreeMap<String, String>),
        List(Vec<EnvironmentEntry>),
    }
    match Written::deserialize(deserializer)? {
        Written::Map(map) => {
            Ok(map.into_iter().map(|(name, value)| EnvironmentEntry { name, value }).collect())
        }
        Written::List(list) => Ok(list),
    }
}
