//! What needs no server to be shown: names, ports and fields in the corner cases.

use std::{collections::BTreeMap, rc::Rc};

use worker_server::{BodyLength, ConnectionInfo, Peer, Scheme, Version};

use super::{Authorization, meta_variables, split_host};
use crate::apps::cgi::{
    request::Request,
    response_head::Dialect,
    script::{Script, Site},
};

fn told(local: Peer, scheme: Scheme, headers: &[(&str, &str)]) -> BTreeMap<String, String> {
    let peer = Peer::Tcp("[::ffff:192.0.2.1]:5".parse().expect("an address"));
    let request = Request {
        method: b"GET".to_vec(),
        path: b"/a.sh/b%20c".to_vec(),
        prefix: Vec::new(),
        prefix_in_path: 0,
        query: b"x=y".to_vec(),
        version: Version::Http2,
        headers: headers
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect(),
        body: BodyLength::None,
        connection: Rc::new(ConnectionInfo { peer, local, scheme, tls: None }),
    };
    let script = Script {
        file: "/srv/cgi/a.sh".into(),
        name: b"/a.sh".to_vec(),
        path_info: b"/b c".to_vec(),
        dialect: Dialect::Parsed,
    };
    let site = Site::Directory("/srv/cgi".into());
    let text = |value: std::ffi::OsString| value.into_string().expect("text");
    meta_variables(&request, &script, &site, None, Authorization::Withheld)
        .into_iter()
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

fn tcp(address: &str) -> Peer {
    Peer::Tcp(address.parse().expect("an address"))
}

#[test]
fn the_host_is_the_clients_and_the_port_is_ours() {
    let variables = told(tcp("127.0.0.1:8000"), Scheme::Http, &[("host", "example.org:80")]);
    assert_eq!(variables["SERVER_NAME"], "example.org");
    assert_eq!(variables["SERVER_PORT"], "8000");
    assert_eq!(variables["REMOTE_ADDR"], "192.0.2.1");
    assert_eq!(variables["SERVER_PROTOCOL"], "HTTP/2.0");
    assert_eq!(variables["REQUEST_URI"], "/a.sh/b%20c?x=y");
    assert_eq!(variables["PATH_TRANSLATED"], "/srv/cgi/b c");
    assert!(!variables.contains_key("HTTPS"));
}

#[test]
fn a_request_without_a_host_is_for_the_address_it_reached() {
    assert_eq!(told(tcp("[2001:db8::1]:8443"), Scheme::Https, &[])["SERVER_NAME"], "[2001:db8::1]");
    assert_eq!(told(tcp("[::ffff:10.0.0.1]:80"), Scheme::Http, &[])["SERVER_NAME"], "10.0.0.1");
    let unix = told(Peer::Unix(None), Scheme::Https, &[]);
    assert_eq!((unix["SERVER_NAME"].as_str(), unix["SERVER_PORT"].as_str()), ("localhost", "443"));
    assert_eq!(unix["HTTPS"], "on");
    assert_eq!(told(Peer::Unix(None), Scheme::Http, &[("host", "a:81")])["SERVER_PORT"], "81");
}

#[test]
fn a_literal_keeps_its_brackets() {
    assert_eq!(split_host(b"[::1]:80"), (&b"[::1]"[..], Some(80)));
    assert_eq!(split_host(b"[::1]"), (&b"[::1]"[..], None));
    assert_eq!(split_host(b"a:"), (&b"a"[..], None));
}

#[test]
fn fields_of_one_name_are_one_variable() {
    let headers = [("accept", "a"), ("cookie", "x=1"), ("accept", "b"), ("cookie", "y=2"), ("x-empty", "")];
    let variables = told(Peer::Unix(None), Scheme::Http, &headers);
    assert_eq!(variables["HTTP_ACCEPT"], "a, b");
    assert_eq!(variables["HTTP_COOKIE"], "x=1; y=2");
    assert_eq!(variables["HTTP_X_EMPTY"], "");
}

#[test]
fn some_fields_are_never_passed() {
    let withheld = [
        "proxy",
        "authorization",
        "proxy-authorization",
        "content-length",
        "content-type",
        "x_real_ip",
        "a.b",
        "connection",
        "te",
        "transfer-encoding",
        "upgrade",
    ];
    let headers: Vec<_> = withheld.iter().map(|name| (*name, "1")).collect();
    let variables = told(Peer::Unix(None), Scheme::Http, &headers);
    let of_http: Vec<_> = variables.keys().filter(|name| name.starts_with("HTTP_")).collect();
    assert!(of_http.is_empty(), "{of_http:?}");
    assert_eq!(variables["CONTENT_TYPE"], "1");
}
