//! Promise: the main job on real input. FastAPI, Starlette and Django applications answer under supervision exactly as they do under
//! uvicorn: same status, same headers (but `server` and `date`), same body.

use harness::Guest;

use crate::side_by_side::{
    CHUNKED, Case, FORM, JSON, MULTIPART, NO_HEADERS, answers_as_under_uvicorn, case, chunked_megabyte, get,
    megabyte, multipart, post,
};

#[test]
fn fastapi() {
    let cases = [
        get("/"),
        get("/sync"),
        get("/items/7"),
        get("/items/7?verbose=true"),
        get("/items/seven"),
        Case { headers: &[("X-Caller", "someone")], ..get("/items/8") },
        Case { headers: &[("X-Caller", "first"), ("X-Caller", "second")], ..get("/items/8") },
        post("/orders", JSON, r#"{"name": "t\u00e9a", "count": 2, "tags": ["a", "b"]}"#),
        post("/orders", JSON, r#"{"count": "many"}"#),
        post("/orders", JSON, "{not json"),
        post("/orders", NO_HEADERS, ""),
        post("/orders/none", JSON, r#"{"name": "tea"}"#),
        post("/upload", MULTIPART, multipart("file", "note")),
        post("/upload", MULTIPART, "--limit--\r\n"),
        get("/stream"),
        get("/forbidden"),
        get("/crash"),
        get("/nowhere"),
        get("/openapi.json"),
        get("/docs"),
        case("PUT", "/items/7"),
        case("DELETE", "/items/7"),
        case("HEAD", "/"),
        case("OPTIONS", "/items/7"),
    ];
    answers_as_under_uvicorn(Guest::FASTAPI, &cases);
}

#[test]
fn starlette() {
    let cases = [
        get("/"),
        get("/items/12?a=1&b=%20two&a=3"),
        get("/items/none"),
        Case { headers: &[("X-One", "1"), ("X-Two", "zwei"), ("x-one", "again")], ..get("/headers") },
        get("/scope/plain"),
        get("/scope/%E2%82%AC/%2F/a%20b?q=%E2%82%AC&r=+"),
        get("/scope//double//slash/../dots"),
        get("/scope/bad%FFutf8"),
        get("/scope/q?a=b?c"),
        get("/state"),
        post("/echo", JSON, r#"{"a": 1}"#),
        post("/echo", NO_HEADERS, megabyte()),
        post("/echo", CHUNKED, chunked_megabyte()),
        Case { method: "PUT", ..post("/echo", NO_HEADERS, "put") },
        post("/digest", NO_HEADERS, megabyte()),
        post("/digest", CHUNKED, chunked_megabyte()),
        post("/digest", NO_HEADERS, ""),
        post("/form", FORM, "a=1&b=zwei+drei&c=%C3%A9"),
        post("/form", MULTIPART, multipart("upload", "text")),
        get("/stream"),
        get("/large"),
        get("/file"),
        Case { headers: &[("Range", "bytes=10-19")], ..get("/file") },
        get("/redirect"),
        get("/nothing"),
        get("/cookies"),
        get("/background"),
        get("/teapot"),
        get("/crash"),
        get("/nowhere"),
        case("HEAD", "/"),
        case("HEAD", "/large"),
        case("DELETE", "/"),
        case("OPTIONS", "/"),
    ];
    answers_as_under_uvicorn(Guest::STARLETTE, &cases);
}

#[test]
fn django() {
    let cases = [
        get("/"),
        get("/async?a=1&b=%20two"),
        case("DELETE", "/async"),
        get("/items/3"),
        get("/items/three"),
        Case { headers: &[("X-One", "1"), ("X-Two-Words", "zwei")], ..get("/headers") },
        get("/digest"),
        post("/digest", NO_HEADERS, megabyte()),
        post("/digest", CHUNKED, chunked_megabyte()),
        post("/json", JSON, r#"{"a": [1, 2, {"b": "é"}]}"#),
        post("/json", JSON, "{not json"),
        post("/form", FORM, "a=1&b=zwei+drei"),
        post("/form", MULTIPART, multipart("upload", "text")),
        get("/stream"),
        get("/cookies"),
        get("/redirect"),
        get("/missing"),
        get("/crash"),
        get("/nowhere"),
        case("HEAD", "/"),
        case("OPTIONS", "/"),
    ];
    answers_as_under_uvicorn(Guest::DJANGO, &cases);
}
