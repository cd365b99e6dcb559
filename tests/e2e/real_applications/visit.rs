//! A visitor of a site, as a browser is one: keeps cookies, and sends back the token that a form held. What is secret, random or a
//! time is masked, so that two visits can be compared.

use std::{collections::BTreeMap, net::SocketAddr};

use harness::http::{Connection, Reply, Request};

use crate::side_by_side::{self, Case};

/// Before the token in a form of Django's.
const TOKEN_FIELD: &str = "name=\"csrfmiddlewaretoken\" value=\"";

/// A visitor.
#[derive(Debug)]
pub(super) struct Visitor {
    address: SocketAddr,
    cookies: BTreeMap<String, String>,
    token: String,
}

impl Visitor {
    /// One who has not been here yet.
    pub(super) fn at(address: SocketAddr) -> Self {
        Self { address, cookies: BTreeMap::new(), token: String::new() }
    }

    /// One request, with the cookies so far; `{token}` in its body is the last form's. The answer is masked.
    pub(super) fn ask(&mut self, case: &Case) -> Reply {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut headers = case.headers.to_vec();
        headers.push(("X-CSRFToken", &self.token));
        if !cookies.is_empty() {
            headers.push(("Cookie", &cookies));
        }
        // A body of bytes has no place for a token.
        let body = match str::from_utf8(&case.body) {
            Ok(text) => text.replace("{token}", &self.token).into_bytes(),
            Err(_) => case.body.clone(),
        };
        let request = Request { method: case.method, target: case.target, headers: &headers, body: &body };
        let mut connection = Connection::open(self.address).expect("a connection");
        let reply = connection
            .request(&request)
            .unwrap_or_else(|error| panic!("{} {}: {error}", case.method, case.target));
        self.remember(&reply);
        Reply { body: mask_tokens(&reply), ..reply }
    }

    fn remember(&mut self, reply: &Reply) {
        let set = reply.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        for (_, cookie) in set {
            let pair = cookie.split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').expect("a cookie has a name and a value");
            self.cookies.insert(name.to_owned(), value.trim_matches('"').to_owned());
        }
        let text = reply.text();
        if let Some((_, after)) = text.split_once(TOKEN_FIELD) {
            self.token = after.split('"').next().unwrap_or_default().to_owned();
        }
    }
}

fn mask_tokens(reply: &Reply) -> Vec<u8> {
    let Ok(text) = str::from_utf8(&reply.body) else { return reply.body.clone() };
    let mut parts = text.split(TOKEN_FIELD);
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        masked.push_str(TOKEN_FIELD);
        masked.push_str(part.find('"').map_or("", |end| &part[end..]));
    }
    masked.into_bytes()
}

/// Headers as they are compared: secrets of cookies and points in time are masked, their presence is not.
pub(super) fn compared(reply: &Reply) -> Vec<(String, String)> {
    let mut headers = side_by_side::compared(reply);
    for (name, value) in &mut headers {
        match name.as_str() {
            "expires" | "last-modified" => *value = "a time".to_owned(),
            "set-cookie" => *value = masked_cookie(value),
            _ => {}
        }
    }
    headers
}

fn masked_cookie(cookie: &str) -> String {
    let mask = |part: &str| match part.split_once('=') {
        Some((name @ ("csrftoken" | "sessionid" | "messages" | "expires"), _)) => format!("{name}=masked"),
        Some(_) | None => part.to_owned(),
    };
    cookie.split("; ").map(mask).collect::<Vec<_>>().join("; ")
}
