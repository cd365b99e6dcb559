//! Header fields that every reply has, whatever the application says.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The fields that are added to each reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplyFieldSettings {
    /// Those that the server makes, where the application has none of its own.
    pub automatic: Vec<AutomaticField>,
    /// Those that the operator wrote.
    pub added: Vec<ReplyField>,
}

/// A field that the server makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AutomaticField {
    /// The time.
    Date,
    /// The name of this program.
    Server,
}

/// `Name:Value`, as in uvicorn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplyField {
    /// A token in lower case.
    pub name: String,
    /// Visible characters of ASCII, spaces and tabs.
    pub value: String,
}

impl FromStr for ReplyField {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no header field: write `Name: value`");
        let (name, value) = text.split_once(':').ok_or_else(wrong)?;
        let blank = [' ', '\t'];
        let name = name.trim_matches(blank).to_ascii_lowercase();
        let value = value.trim_matches(blank);
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let is_value = |c: char| c == '\t' || c == ' ' || c.is_ascii_graphic();
        if name.is_empty() || !name.chars().all(is_token) || !value.chars().all(is_value) {
            return Err(wrong());
        }
        if ["connection", "content-length", "keep-alive", "transfer-encoding", "upgrade"].contains(&&*name) {
            return Err(format!("the field {name} is decided for each reply and cannot be added to all"));
        }
        Ok(Self { name, value: value.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::ReplyField;

    #[test]
    fn fields_are_checked_before_they_are_sent() {
        let field: ReplyField = "X-Frame-Options: DENY".parse().expect("a field");
        assert_eq!((&*field.name, &*field.value), ("x-frame-options", "DENY"));
        assert!("a:b:c".parse::<ReplyField>().is_ok_and(|field| field.value == "b:c"));
        for text in
            ["", "x", ": x", "a b: x", "a: \r\nb: c", "Content-Length: 5", "connection:close", "a: \u{e9}"]
        {
            assert!(text.parse::<ReplyField>().is_err(), "{text}");
        }
    }
}
