//! How a line of the access log looks, as a value of settings.

use std::{marker::PhantomData, str::FromStr};

use protocol::settings::access_log::AccessLogFormat;
use serde::{Deserialize, Deserializer};

use super::{ScalarVisitor, ValueError};

/// How a line looks: a name, or a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLogFormatChoice(pub AccessLogFormat);

impl FromStr for AccessLogFormatChoice {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        text.parse().map(Self).map_err(ValueError)
    }
}

read_from_scalars!(AccessLogFormatChoice);
