//! Values of the settings of HTTP/1.

use std::{marker::PhantomData, str::FromStr};

use protocol::settings::http1::HalfClose;
use serde::{Deserialize, Deserializer};

use super::{ScalarVisitor, ValueError, refuse};

/// What a client that closes its sending side means, as the worker is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HalfCloseChoice(pub HalfClose);

impl FromStr for HalfCloseChoice {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "leaves" => Ok(Self(HalfClose::Leaves)),
            "waits" => Ok(Self(HalfClose::Waits)),
            _ => refuse(format!("`{text}` is nothing that a client can mean: write leaves or waits")),
        }
    }
}

read_from_scalars!(HalfCloseChoice);
