//! The `SUPERVISE_*` environment as one layer of settings. Gets the variables passed in; never reads the process's own.

use std::collections::BTreeMap;

use serde::{Deserialize, de::value::MapDeserializer};

use super::{file::suggestion, raw::RawSettings};
use crate::error::{ExitStatus, Expected, ExpectedError};

const PREFIX: &str = "SUPERVISE_";

/// One layer of settings, and a warning for each name that is none.
///
/// # Errors
/// Exit 2 for a value that its setting does not take.
pub fn parse(variables: &BTreeMap<String, String>) -> Expected<(RawSettings, Vec<String>)> {
    let known = RawSettings::names();
    let mut layer = RawSettings::default();
    let mut warnings = Vec::new();
    for (variable, value) in variables.range(PREFIX.to_owned()..) {
        let Some(name) = variable.strip_prefix(PREFIX) else { break };
        let name = name.to_ascii_lowercase();
        // What a supervisor sets for its workers is no setting: it is there when an application starts another supervisor.
        if protocol::inherited::ALL.contains(&variable.as_str()) || value.is_empty() {
            continue;
        }
        // A list of KEY=VALUE has no text form that is safe for every value.
        if name == "env" || !known.contains(&name) {
            warnings.push(match suggestion(&name, &known) {
                Some(like) if name != "env" => {
                    format!(
                        "{variable} is no setting and is not used: did you mean {PREFIX}{}?",
                        like.to_ascii_uppercase()
                    )
                }
                Some(_) | None => format!("{variable} is no setting and is not used"),
            });
            continue;
        }
        layer = read_one(variable, &name, value)?.over(layer);
    }
    Ok((layer, warnings))
}

fn read_one(variable: &str, name: &str, value: &str) -> Expected<RawSettings> {
    let entries = MapDeserializer::<_, serde::de::value::Error>::new(std::iter::once((name, Text(value))));
    RawSettings::deserialize(entries).map_err(|error| {
        ExpectedError::new("environment/value", ExitStatus::Usage, format!("{variable}: {error}"))
    })
}

/// A text that lets itself be read as an optional value or a number: what serde's own string deserializers refuse.
struct Text<'a>(&'a str);

impl<'de> serde::de::IntoDeserializer<'de> for Text<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> serde::Deserializer<'de> for Text<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: serde::de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_str(self.0)
    }

    fn deserialize_option<V: serde::de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_u16<V: serde::de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.0.parse() {
            Ok(number) => visitor.visit_u16(number),
            Err(_) => Err(serde::de::Error::custom(format!("`{}` is no number from 0 to 65535", self.0))),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct seq
        tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::PathBuf};

    use super::parse;
    use crate::config::values::{Switch, TimeSpan};

    fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn settings_come_from_the_environment() {
        let (layer, warnings) = parse(&variables(&[
            ("SUPERVISE_APP", "m:app"),
            ("SUPERVISE_BIND", "127.0.0.1:1, unix:/x"),
            ("SUPERVISE_BOOT_TIMEOUT", "5s"),
            ("SUPERVISE_FACTORY", "true"),
            ("SUPERVISE_PID", "/run/x.pid"),
            ("SUPERVISE_PORT", "81"),
            ("SUPERVISE_LOOP", "asyncio"),
            ("SUPERVISE_SLOT", "3"),
            ("SUPERVISEX", "no business of ours"),
        ]))
        .expect("all good");
        assert_eq!(layer.app.as_deref(), Some("m:app"));
        assert_eq!(layer.boot_timeout, Some(TimeSpan { ms: 5000 }));
        assert_eq!(layer.factory, Some(Switch::On));
        assert_eq!(layer.pid, Some(PathBuf::from("/run/x.pid")));
        assert_eq!(layer.port, Some(81));
        assert!(layer.event_loop.is_some());
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn an_unknown_name_warns_and_a_wrong_value_is_refused() {
        let (_, warnings) = parse(&variables(&[("SUPERVISE_WROKERS", "2")])).expect("only a warning");
        assert_eq!(
            warnings,
            ["SUPERVISE_WROKERS is no setting and is not used: did you mean SUPERVISE_WORKERS?"]
        );
        let error = parse(&variables(&[("SUPERVISE_WORKERS", "many")])).expect_err("no number");
        assert!(error.message.starts_with("SUPERVISE_WORKERS: `many` is no number of workers"), "{error}");
    }
}
