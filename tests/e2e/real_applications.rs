//! Promise: real applications. What people deploy besides FastAPI, Starlette and Django's views (those are in `main_job`) answers as
//! under uvicorn: Quart, Litestar, a GraphQL endpoint, server-sent events, and a visit to Django's admin with CSRF, session, upload
//! and download, over WSGI as under gunicorn too. Flask and Django's views over WSGI are in `wsgi_frameworks`.

mod visit;

use std::net::SocketAddr;

use harness::{
    Guest, Machine, Python,
    http::{Connection, Request},
};

use self::visit::Visitor;
use crate::side_by_side::{
    CHUNKED, Case, FORM, Gunicorn, JSON, MULTIPART, NO_HEADERS, Uvicorn, answers_as_under_uvicorn, case,
    chunked_megabyte, get, megabyte, multipart, post, show,
};

/// Whether this machine's default Python has packages for the wider field (tests/apps/requirements.txt names 3.11).
fn has_the_wider_field() -> bool {
    Python::default_one().is_some_and(|python| python.version >= (3, 11, 0))
}

#[test]
fn quart() {
    if !has_the_wider_field() {
        return;
    }
    let cases = [
        get("/"),
        get("/items/7?a=1&b=%20two"),
        get("/items/seven"),
        post("/json", JSON, r#"{"a": [1, {"b": "é"}]}"#),
        post("/json", JSON, "{not json"),
        post("/digest", NO_HEADERS, megabyte()),
        post("/digest", CHUNKED, chunked_megabyte()),
        post("/form", FORM, "a=1&b=zwei+drei&c=%C3%A9"),
        post("/form", MULTIPART, multipart("upload", "text")),
        get("/stream"),
        get("/file"),
        Case { headers: &[("Range", "bytes=10-19")], ..get("/file") },
        get("/cookies"),
        get("/redirect"),
        get("/crash"),
        get("/nowhere"),
        case("HEAD", "/"),
        case("HEAD", "/file"),
        case("OPTIONS", "/json"),
        case("DELETE", "/"),
    ];
    answers_as_under_uvicorn(Guest::QUART, &cases);
}

#[test]
fn litestar() {
    if !has_the_wider_field() {
        return;
    }
    let cases = [
        get("/"),
        get("/items/7?verbose=true"),
        get("/items/seven"),
        get("/items/7?verbose=perhaps"),
        post("/orders", JSON, r#"{"name": "t\u00e9a", "count": 2}"#),
        post("/orders", JSON, r#"{"count": "many"}"#),
        post("/orders", JSON, "{not json"),
        post("/upload", MULTIPART, multipart("file", "note")),
        get("/stream"),
        get("/cookies"),
        get("/redirect"),
        get("/teapot"),
        get("/crash"),
        get("/nowhere"),
        get("/schema/openapi.json"),
        case("HEAD", "/"),
        case("OPTIONS", "/orders"),
        case("DELETE", "/"),
    ];
    answers_as_under_uvicorn(Guest::LITESTAR, &cases);
}

/// A GraphQL request over POST.
fn query(text: &str) -> Case {
    post("/graphql/", JSON, serde_json::json!({ "query": text }).to_string())
}

#[test]
fn graphql_and_server_sent_events() {
    if !has_the_wider_field() {
        return;
    }
    let cases = [
        query("{ notes { number text } }"),
        query("mutation { add(text: \"z\u{fc}rich\") { number text } }"),
        query("{ notes { text } }"),
        query("{ fails }"),
        query("{ unknown }"),
        query("{ broken"),
        post("/graphql/", JSON, "{not json"),
        get("/graphql/?query=%7B%20notes%20%7B%20text%20%7D%20%7D"),
        Case { headers: &[("Accept", "text/html")], ..get("/graphql/") },
        get("/graphql"),
        Case { headers: &[("Accept", "text/event-stream"), ("Last-Event-ID", "7")], ..get("/events") },
        case("HEAD", "/events"),
        get("/nowhere"),
    ];
    answers_as_under_uvicorn(Guest::GRAPHQL, &cases);
}

#[test]
fn an_event_arrives_before_the_next_is_made() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one().filter(|_| has_the_wider_field()) else { return };
    let server = machine.server().guest(Guest::GRAPHQL, &python).arguments(["app:app"]).start();
    let mut events = Connection::open(server.address()).expect("a connection");
    events.send(&Request::get("/events?held=1").bytes()).expect("sent");
    events.receive_until(b"data: tick 0").expect("the first event, while the second waits");
    let mut other = Connection::open(server.address()).expect("a connection");
    let release = Request { method: "POST", ..Request::get("/release") };
    assert_eq!(other.request(&release).expect("an answer").text(), "released");
    let all = events.receive("GET").expect("the rest").text();
    assert!(all.ends_with("id: 2\nevent: tick\ndata: tick 2\n\n"), "{all:?}");
    server.stop();
}

/// What somebody does who looks after a site: is sent to the login, fails, succeeds, adds a group, uploads, downloads, leaves.
fn admin_visit() -> Vec<Case> {
    let login = |password: &str, token: &str| {
        let form = format!("csrfmiddlewaretoken={token}&username=admin&password={password}&next=/admin/");
        post("/admin/login/?next=/admin/", FORM, form)
    };
    vec![
        get("/admin/"),
        get("/admin/login/?next=/admin/"),
        login("secret", "forged"),
        login("wrong", "{token}"),
        login("secret", "{token}"),
        get("/admin/"),
        get("/admin/auth/group/add/"),
        post("/admin/auth/group/add/", FORM, "csrfmiddlewaretoken={token}&name=editors&_save=Save"),
        get("/admin/auth/group/"),
        post("/admin/auth/group/add/", FORM, "csrfmiddlewaretoken={token}&name=editors&_save=Save"),
        post("/upload", MULTIPART, multipart("file", "text")),
        get("/download"),
        case("HEAD", "/download"),
        get("/admin/jsi18n/"),
        post("/admin/logout/", FORM, "csrfmiddlewaretoken={token}"),
        get("/admin/"),
        get("/download"),
    ]
}

/// The visit at both addresses, step by step.
fn visits_alike(ours: SocketAddr, theirs: SocketAddr) {
    let (mut ours, mut theirs) = (Visitor::at(ours), Visitor::at(theirs));
    let mut statuses = Vec::new();
    for case in admin_visit() {
        let (our, their) = (ours.ask(&case), theirs.ask(&case));
        let step =
            format!("{} {}\n  ours   {}\n  theirs {}", case.method, case.target, show(&our), show(&their));
        assert_eq!(our.status, their.status, "{step}");
        assert_eq!(visit::compared(&our), visit::compared(&their), "{step}");
        assert_eq!(our.body, their.body, "{step}");
        statuses.push(our.status);
    }
    let expected = [302, 200, 403, 200, 302, 200, 200, 302, 200, 200, 200, 200, 200, 200, 200, 302, 302];
    assert_eq!(statuses, expected, "and it is the visit that was meant");
}

#[test]
fn a_visit_to_the_admin_of_django_over_asgi() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let server = machine.server().guest(Guest::DJANGO_ADMIN, &python).arguments(["app:app"]).start();
    let uvicorn = Uvicorn::start(&python, server.directory());
    visits_alike(server.address(), uvicorn.address);
    drop(uvicorn);
    server.stop();
}

#[test]
fn a_visit_to_the_admin_of_django_over_wsgi() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one().filter(|_| has_the_wider_field()) else { return };
    let server = machine.server().guest(Guest::DJANGO_ADMIN, &python);
    let server = server.arguments(["--worker-class", "threads", "app:wsgi"]).start();
    let gunicorn = Gunicorn::start(&python, &server, "app:wsgi").expect("the wider field has gunicorn");
    visits_alike(server.address(), gunicorn.address);
    drop(gunicorn);
    server.stop();
}
