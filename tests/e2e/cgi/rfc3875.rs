//! Every MUST of RFC 3875 that a server can be held to, and the SHOULDs that it follows: one table, one server.
//!
//! Not in it: AUTH_TYPE and REMOTE_USER (the server authenticates nobody, so they are never set: §4.1.1, §4.1.11), REMOTE_IDENT
//! (§4.1.10, optional), and what a program must do.

mod answers;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use harness::{
    Machine, Server,
    http::{Connection, Reply, Request},
};

use super::{ask, get, post, programs};

/// A sentence of the RFC, and what shows that it holds.
struct Clause {
    section: &'static str,
    promise: &'static str,
    check: fn(&Server),
}

const fn clause(section: &'static str, promise: &'static str, check: fn(&Server)) -> Clause {
    Clause { section, promise, check }
}

const CLAUSES: &[Clause] = &[
    clause(
        "3.1",
        "a program that breaks the rules does not make the server break HTTP's",
        answers::broken_programs,
    ),
    clause("3.2", "leading segments name the program, the rest is PATH_INFO", selection),
    clause("3.3", "the Script-URI leads to the same program with the same values", script_uri),
    clause(
        "4.1",
        "nothing but meta-variables, the short list and --env is in the environment",
        environment_is_closed,
    ),
    clause(
        "4.1.1",
        "AUTH_TYPE and REMOTE_USER are not set: nobody was authenticated",
        nobody_is_authenticated,
    ),
    clause("4.1.2", "CONTENT_LENGTH is set if and only if there is a body", content_length),
    clause("4.1.2", "CONTENT_LENGTH counts the body without its transfer coding", chunked_body),
    clause("4.1.3", "CONTENT_TYPE is the request's, if it has one", content_type),
    clause("4.1.4", "GATEWAY_INTERFACE is CGI/1.1", |s| is(s, "/show.sh", "GATEWAY_INTERFACE", "CGI/1.1")),
    clause("4.1.5", "PATH_INFO is decoded, its case kept; empty when there is none", path_info),
    clause("4.1.6", "PATH_TRANSLATED is PATH_INFO below the root; unset without it", path_translated),
    clause("4.1.7", "QUERY_STRING is always set, as it was encoded", query_string),
    clause("4.1.8", "REMOTE_ADDR is the client", |s| is(s, "/show.sh", "REMOTE_ADDR", "127.0.0.1")),
    clause("4.1.9", "REMOTE_HOST may be the address", |s| is(s, "/show.sh", "REMOTE_HOST", "127.0.0.1")),
    clause("4.1.12", "REQUEST_METHOD is the method, case kept", request_method),
    clause("4.1.13", "SCRIPT_NAME names the program, decoded", script_name),
    clause("4.1.14", "SERVER_NAME is the host that the request is for", server_name),
    clause("4.1.15", "SERVER_PORT is the port on which it came", server_port),
    clause("4.1.16", "SERVER_PROTOCOL is the request's", server_protocol),
    clause("4.1.17", "SERVER_SOFTWARE has name and version", server_software),
    clause(
        "4.1.18",
        "fields are HTTP_*, merged; credentials and what has another name are not",
        header_fields,
    ),
    clause("4.2", "CONTENT_LENGTH bytes can be read, and then the end", body),
    clause("4.3.3", "a body in answer to HEAD is discarded", head),
    clause("4.4", "an indexed query is the command line; all of it or nothing", command_line),
    clause("5", "an nph- program's own status line and fields go to the client", answers::non_parsed),
    clause("6.2.1", "a document, its status 200 if it does not say", answers::document),
    clause("6.2.2", "a local redirect gives the answer of the other path", answers::local_redirect),
    clause("6.2.2", "local redirects end", answers::local_redirect_circle),
    clause("6.2.3", "a client redirect is a 302", answers::client_redirect),
    clause("6.2.4", "a client redirect with a document keeps its status", answers::client_redirect_document),
    clause("6.3", "CGI fields: at least one, none twice, no continuation lines", answers::cgi_fields),
    clause("6.3.1", "a body needs a Content-Type, which is passed unchanged", answers::response_content_type),
    clause("6.3.3", "Status is the response's status and no field", answers::response_status),
    clause(
        "6.3.4",
        "fields of HTTP pass, those of the connection do not, line ends are HTTP's",
        answers::protocol_fields,
    ),
    clause("6.3.5", "X-CGI- fields stay here", answers::extension_fields),
    clause("6.4", "all of the body is passed, to the end of the output", answers::response_body),
    clause("7.2", "the working directory is the program's, its words have no active characters", unix),
    clause("7.2", "it gets standard input, output and error, and no other descriptor", descriptors),
    clause(
        "8.1",
        "paths with dot segments, encoded slashes or control characters, and hidden names, lead nowhere",
        traversal,
    ),
    clause("9.6", "links out of the root lead nowhere", links),
];

#[test]
fn every_clause() {
    let machine = Machine::shared();
    let server =
        programs(&machine).arguments(["--env", "GREETING=hello", "--env", "SERVER_NAME=forged"]).start();
    let broken: Vec<_> = CLAUSES
        .iter()
        .filter(|clause| catch_unwind(AssertUnwindSafe(|| (clause.check)(&server))).is_err())
        .map(|clause| format!("§{} {}", clause.section, clause.promise))
        .collect();
    assert!(broken.is_empty(), "{} of {} do not hold:\n{}", broken.len(), CLAUSES.len(), broken.join("\n"));
    server.stop();
}

/// What show.sh says.
fn shown(reply: &Reply) -> BTreeMap<String, String> {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let text = reply.text();
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn show(server: &Server, target: &str) -> BTreeMap<String, String> {
    shown(&get(server, target))
}

fn is(server: &Server, target: &str, name: &str, value: &str) {
    assert_eq!(show(server, target).get(name).map(String::as_str), Some(value), "{name} of {target}");
}

fn show_with(server: &Server, headers: &[(&str, &str)]) -> BTreeMap<String, String> {
    shown(&ask(server, &Request { headers, ..Request::get("/show.sh") }))
}

fn selection(server: &Server) {
    let variables = show(server, "/deeper/show.sh/a/b?c=d");
    assert_eq!(variables["SCRIPT_NAME"], "/deeper/show.sh");
    assert_eq!(variables["PATH_INFO"], "/a/b");
    assert!(variables["SCRIPT_FILENAME"].ends_with("/cgi-bin/deeper/show.sh"));
    for (target, status) in [
        ("/", 404),
        ("/deeper", 404),
        ("/deeper/", 404),
        ("/none.sh", 404),
        ("/readme.txt", 403),
        ("//show.sh", 404),
    ] {
        assert_eq!(get(server, target).status, status, "{target}");
    }
}

fn script_uri(server: &Server) {
    let first = show(server, "/show.sh/a%20b/%C3%A9?q=%20+x=1");
    // Made of the variables alone, as §3.3 has it.
    let encoded: String = first["PATH_INFO"]
        .bytes()
        .map(|byte| if byte == b'/' { "/".into() } else { format!("%{byte:02X}") })
        .collect();
    let target = format!("{}{encoded}?{}", first["SCRIPT_NAME"], first["QUERY_STRING"]);
    let host = format!("{}:{}", first["SERVER_NAME"], first["SERVER_PORT"]);
    let again = shown(&ask(server, &Request { headers: &[("Host", &host)], ..Request::get(&target) }));
    for name in ["SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_NAME", "SERVER_PORT"] {
        assert_eq!(first[name], again[name], "{name}");
    }
}

fn environment_is_closed(server: &Server) {
    let variables = show(server, "/show.sh");
    assert_eq!(variables["GREETING"], "hello");
    assert_ne!(variables["SERVER_NAME"], "forged", "--env does not replace a meta-variable");
    let strangers: Vec<_> = variables
        .keys()
        .filter(|name| {
            !name.starts_with("HTTP_")
                && ![
                    "CONTENT_LENGTH",
                    "CONTENT_TYPE",
                    "GATEWAY_INTERFACE",
                    "PATH_INFO",
                    "PATH_TRANSLATED",
                    "QUERY_STRING",
                    "REMOTE_ADDR",
                    "REMOTE_HOST",
                    "REQUEST_METHOD",
                    "SCRIPT_NAME",
                    "SERVER_NAME",
                    "SERVER_PORT",
                    "SERVER_PROTOCOL",
                    "SERVER_SOFTWARE",
                    "REQUEST_URI",
                    "SCRIPT_FILENAME",
                    "DOCUMENT_ROOT",
                    "PATH",
                    "LANG",
                    "LC_ALL",
                    "LC_CTYPE",
                    "TZ",
                    "TMPDIR",
                    "GREETING",
                    "DIRECTORY",
                    "DESCRIPTORS",
                    "GROUP_LEADER",
                ]
                .contains(&name.as_str())
        })
        .collect();
    assert!(strangers.is_empty(), "{strangers:?}");
}

fn nobody_is_authenticated(server: &Server) {
    let variables = show_with(server, &[("Authorization", "Basic YTpi")]);
    for name in ["AUTH_TYPE", "REMOTE_USER", "REMOTE_IDENT", "HTTP_AUTHORIZATION"] {
        assert_eq!(variables.get(name), None, "{name}");
    }
}

fn content_length(server: &Server) {
    assert_eq!(show(server, "/show.sh").get("CONTENT_LENGTH"), None);
    let empty = Request { method: "POST", headers: &[("Content-Length", "0")], ..Request::get("/show.sh") };
    assert_eq!(shown(&ask(server, &empty))["CONTENT_LENGTH"], "0");
    assert_eq!(shown(&post(server, "/show.sh", b"hello"))["CONTENT_LENGTH"], "5");
}

fn chunked_body(server: &Server) {
    let headers = [("Transfer-Encoding", "chunked"), ("Content-Type", "a/b")];
    let body = b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    let variables =
        shown(&ask(server, &Request { method: "POST", target: "/show.sh", headers: &headers, body }));
    assert_eq!(variables["CONTENT_LENGTH"], "11");
    assert_eq!(variables["INPUT"], "hello world");
    assert_eq!(variables.get("HTTP_TRANSFER_ENCODING"), None);
    let mut large = Vec::new();
    for _ in 0..64 {
        large.extend_from_slice(b"8000\r\n");
        large.resize(large.len() + 0x8000, b'x');
        large.extend_from_slice(b"\r\n");
    }
    large.extend_from_slice(b"0\r\n\r\n");
    let counted =
        ask(server, &Request { method: "POST", target: "/count.sh", headers: &headers, body: &large });
    assert_eq!(counted.text().trim(), (64 * 0x8000).to_string());
}

fn content_type(server: &Server) {
    assert_eq!(shown(&post(server, "/show.sh", b"x")).get("CONTENT_TYPE"), None, "none is invented");
    let variables = show_with(server, &[("Content-Type", "Text/Plain; a=\"b\"")]);
    assert_eq!(variables["CONTENT_TYPE"], "Text/Plain; a=\"b\"");
    assert_eq!(variables.get("HTTP_CONTENT_TYPE"), None);
}

fn path_info(server: &Server) {
    is(server, "/show.sh", "PATH_INFO", "");
    is(server, "/show.sh/", "PATH_INFO", "/");
    is(server, "/show.sh/A%20b//c/", "PATH_INFO", "/A b//c/");
    is(server, "/show.sh/%E2%82%AC;p=1", "PATH_INFO", "/\u{20ac};p=1");
}

fn path_translated(server: &Server) {
    assert_eq!(show(server, "/show.sh").get("PATH_TRANSLATED"), None);
    let variables = show(server, "/show.sh/this/there");
    assert_eq!(variables["PATH_TRANSLATED"], format!("{}/this/there", variables["DOCUMENT_ROOT"]));
}

fn query_string(server: &Server) {
    is(server, "/show.sh", "QUERY_STRING", "");
    is(server, "/show.sh?", "QUERY_STRING", "");
    is(server, "/show.sh?a=%20b&c=?d", "QUERY_STRING", "a=%20b&c=?d");
}

fn request_method(server: &Server) {
    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "gEt"] {
        let variables = shown(&ask(server, &Request { method, ..Request::get("/show.sh") }));
        assert_eq!(variables["REQUEST_METHOD"], method);
    }
}

fn script_name(server: &Server) {
    is(server, "/deeper/show%2esh/x", "SCRIPT_NAME", "/deeper/show.sh");
}

fn server_name(server: &Server) {
    for (host, name) in
        [("example.org:99", "example.org"), ("Example.ORG", "Example.ORG"), ("[::1]:8", "[::1]")]
    {
        assert_eq!(show_with(server, &[("Host", host)])["SERVER_NAME"], name);
    }
    let mut old = Connection::open(server.address()).expect("a connection");
    old.send(b"GET /show.sh HTTP/1.0\r\n\r\n").expect("sent");
    assert_eq!(shown(&old.receive("GET").expect("an answer"))["SERVER_NAME"], "127.0.0.1");
}

fn server_port(server: &Server) {
    let port = server.address().port().to_string();
    assert_eq!(show_with(server, &[("Host", "example.org:99")])["SERVER_PORT"], port);
    assert_eq!(show_with(server, &[("Host", "example.org")])["SERVER_PORT"], port);
}

fn server_protocol(server: &Server) {
    is(server, "/show.sh", "SERVER_PROTOCOL", "HTTP/1.1");
    let mut old = Connection::open(server.address()).expect("a connection");
    old.send(b"GET /show.sh HTTP/1.0\r\n\r\n").expect("sent");
    assert_eq!(shown(&old.receive("GET").expect("an answer"))["SERVER_PROTOCOL"], "HTTP/1.0");
}

fn server_software(server: &Server) {
    let software = show(server, "/show.sh")["SERVER_SOFTWARE"].clone();
    let (name, version) = software.split_once('/').expect("name/version");
    assert_eq!(name, "supervise");
    assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{version}");
}

fn header_fields(server: &Server) {
    let variables = show_with(
        server,
        &[
            ("Accept", "a"),
            ("X-Two-Words", "x y"),
            ("accept", "b"),
            ("Cookie", "a=1"),
            ("Cookie", "b=2"),
            ("Proxy", "http://evil/"),
            ("Authorization", "Basic x"),
            ("Proxy-Authorization", "Basic y"),
            ("X_Under", "1"),
            ("X-Under", "2"),
            ("Connection", "close"),
        ],
    );
    assert_eq!(variables["HTTP_ACCEPT"], "a, b");
    assert_eq!(variables["HTTP_X_TWO_WORDS"], "x y");
    assert_eq!(variables["HTTP_COOKIE"], "a=1; b=2");
    assert_eq!(variables["HTTP_X_UNDER"], "2", "a name with an underscore does not join in");
    assert_eq!(variables["HTTP_HOST"], "localhost");
    for name in [
        "HTTP_PROXY",
        "HTTP_AUTHORIZATION",
        "HTTP_PROXY_AUTHORIZATION",
        "HTTP_CONTENT_LENGTH",
        "HTTP_CONNECTION",
    ] {
        assert_eq!(variables.get(name), None, "{name}");
    }
}

fn body(server: &Server) {
    let body: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    // count.sh reads to the end: there is one after CONTENT_LENGTH bytes.
    assert_eq!(post(server, "/count.sh", &body).text().trim(), "3000000");
    assert_eq!(get(server, "/count.sh").text().trim(), "0");
    // A program that does not read has its will, and the connection goes on.
    assert_eq!(post(server, "/deaf.sh", &body).text(), "done\n");
    // 100-continue comes when the program is there to read.
    let mut careful = Connection::open(server.address()).expect("a connection");
    let head = b"POST /count.sh HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    careful.send(head).expect("sent");
    careful.receive_until(b"100 Continue").expect("an invitation");
    careful.send(b"abc").expect("sent");
    assert_eq!(careful.receive("POST").expect("an answer").text().trim(), "3");
}

fn head(server: &Server) {
    let mut connection = Connection::open(server.address()).expect("a connection");
    for _ in 0..2 {
        let reply = connection
            .request(&Request { method: "HEAD", ..Request::get("/document.sh") })
            .expect("an answer");
        assert_eq!((reply.status, reply.header("content-length"), reply.body.len()), (200, Some("6"), 0));
    }
    let unknown = ask(server, &Request { method: "HEAD", ..Request::get("/show.sh") });
    assert_eq!(unknown.header("content-length"), None, "a length that nobody knows is not told");
}

fn command_line(server: &Server) {
    let words = |target: &str| {
        let text = get(server, target).text();
        text.lines().filter_map(|line| line.strip_prefix("WORD=").map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(words("/show.sh?one+two%21"), ["one", "two\\!"]);
    for target in ["/show.sh", "/show.sh?a=b", "/show.sh?one+-s", "/show.sh?%2ds", "/show.sh?a+%00"] {
        assert_eq!(words(target), [""; 0], "{target}");
    }
    let posted = post(server, "/show.sh?one", b"x").text();
    assert!(!posted.contains("WORD="), "GET and HEAD alone: {posted}");
}

fn unix(server: &Server) {
    let variables = show(server, "/deeper/show.sh?a%3Bb");
    assert_eq!(variables["DIRECTORY"], format!("{}/deeper", variables["DOCUMENT_ROOT"]));
    assert_eq!(variables["WORD"], "a\\;b");
    assert_eq!(variables["GROUP_LEADER"], "yes");
}

fn descriptors(server: &Server) {
    let held = show(server, "/show.sh")["DESCRIPTORS"].clone();
    // The shell itself holds its script, at 10 or above where it puts its own.
    let others: Vec<_> =
        held.split_whitespace().filter(|fd| !["0", "1", "2", "10", "255"].contains(fd)).collect();
    assert!(others.is_empty(), "{held}");
}

fn traversal(server: &Server) {
    for target in [
        "/../show.sh",
        "/deeper/../show.sh",
        "/deeper/%2e%2e/show.sh",
        "/%2E%2e/x",
        "/show.sh/..",
        "/./show.sh",
        "/deeper%2fshow.sh",
        "/deeper%2Fshow.sh",
        "/show.sh%00",
        "/show.sh/%0a",
        "/%",
        "/%4",
    ] {
        assert_eq!(get(server, target).status, 400, "{target}");
    }
    for target in ["/.hidden.sh", "/%2ehidden.sh", "/.../show.sh", "/deeper%5cshow.sh"] {
        assert_eq!(get(server, target).status, 404, "{target}");
    }
}

fn links(server: &Server) {
    assert_eq!(get(server, "/outside").status, 403);
    is(server, "/inside.sh/x", "SCRIPT_NAME", "/inside.sh");
}
