//! The kinds of value that only WebSockets have. Knows no setting by name.

use std::{marker::PhantomData, str::FromStr};

use protocol::settings::WebSocketMode;
use serde::{Deserialize, Deserializer};

use super::{ScalarVisitor, TimeSpan, ValueError, refuse};

/// Whether WebSockets are spoken, as the worker is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebSocketChoice(pub WebSocketMode);

impl FromStr for WebSocketChoice {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "auto" => Ok(Self(WebSocketMode::Auto)),
            "none" => Ok(Self(WebSocketMode::None)),
            "websockets" | "websockets-sansio" | "wsproto" => {
                refuse(format!("WebSocket is built in and needs no `{text}`: write auto or none"))
            }
            _ => refuse(format!("`{text}` is no choice of WebSocket: write auto or none")),
        }
    }
}

/// A time, or `off`, which is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOrOff {
    /// In milliseconds; 0 for off.
    pub ms: u64,
}

impl FromStr for TimeOrOff {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "0" | "off" => Ok(Self { ms: 0 }),
            _ => text.parse::<TimeSpan>().map(|time| Self { ms: time.ms }),
        }
    }
}

read_from_scalars!(WebSocketChoice, TimeOrOff);
