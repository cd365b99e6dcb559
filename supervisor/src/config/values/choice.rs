//! A value that knows its own text form, because the worker's command line reads the same: read from flags, environment and YAML alike.

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{Deserialize, Deserializer, de};

use super::ValueError;

/// The value, out of one scalar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice<T>(pub T);

impl<T: FromStr<Err = String>> FromStr for Choice<T> {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        text.parse().map(Self).map_err(ValueError)
    }
}

impl<'de, T: FromStr<Err = String>> Deserialize<'de> for Choice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ChoiceVisitor(PhantomData))
    }
}

struct ChoiceVisitor<T>(PhantomData<T>);

impl<T: FromStr<Err = String>> de::Visitor<'_> for ChoiceVisitor<T> {
    type Value = Choice<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a single value")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Choice<T>, E> {
        text.parse().map(Choice).map_err(E::custom)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Choice<T>, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Choice<T>, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Choice<T>, E> {
        self.visit_str(&value.to_string())
    }
}
