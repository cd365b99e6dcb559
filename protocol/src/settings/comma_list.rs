//! Values between commas, as gunicorn and uvicorn write lists in one option: `10.0.0.0/8,unix:`. In a file a list is a list, too.

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{Deserialize, Deserializer, de};

/// Values between commas; none where there is no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommaList<T>(pub Vec<T>);

impl<T: FromStr<Err = String>> FromStr for CommaList<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let members = text.split(',').map(str::trim).filter(|member| !member.is_empty());
        members.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl<'de, T: FromStr<Err = String>> Deserialize<'de> for CommaList<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: FromStr<Err = String>> de::Visitor<'de> for ListVisitor<T> {
    type Value = CommaList<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text with commas or a list of texts")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<CommaList<T>, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<CommaList<T>, A::Error> {
        let mut members = Vec::new();
        while let Some(text) = list.next_element::<String>()? {
            members.push(text.parse().map_err(de::Error::custom)?);
        }
        Ok(CommaList(members))
    }
}
