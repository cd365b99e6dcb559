//! The keys and common values of an environ: interned once, never freed.

use std::sync::OnceLock;

use crate::immortal::known_texts;

known_texts! {
    content_length = c"CONTENT_LENGTH";
    content_type = c"CONTENT_TYPE";
    https = c"HTTPS";
    on = c"on";
    path_info = c"PATH_INFO";
    query_string = c"QUERY_STRING";
    raw_uri = c"RAW_URI";
    remote_addr = c"REMOTE_ADDR";
    remote_port = c"REMOTE_PORT";
    request_method = c"REQUEST_METHOD";
    request_uri = c"REQUEST_URI";
    script_name = c"SCRIPT_NAME";
    server_name = c"SERVER_NAME";
    server_port = c"SERVER_PORT";
    server_protocol = c"SERVER_PROTOCOL";
    server_software = c"SERVER_SOFTWARE";
    software = c"supervise";
    wsgi_errors = c"wsgi.errors";
    wsgi_file_wrapper = c"wsgi.file_wrapper";
    wsgi_input = c"wsgi.input";
    wsgi_input_terminated = c"wsgi.input_terminated";
    wsgi_multiprocess = c"wsgi.multiprocess";
    wsgi_multithread = c"wsgi.multithread";
    wsgi_run_once = c"wsgi.run_once";
    wsgi_url_scheme = c"wsgi.url_scheme";
    wsgi_version = c"wsgi.version";
    http = c"http";
    https_scheme = c"https";
    http_1_0 = c"HTTP/1.0";
    http_1_1 = c"HTTP/1.1";
    http_2 = c"HTTP/2.0";
    empty = c"";
    get = c"GET";
    head = c"HEAD";
    post = c"POST";
    put = c"PUT";
    delete = c"DELETE";
    patch = c"PATCH";
    options = c"OPTIONS";
    close = c"close";
    exc_info = c"exc_info";
    read = c"read";
}

static TEXTS: OnceLock<Texts> = OnceLock::new();

/// The known texts.
///
/// # Panics
/// Before [`prepare`].
pub(super) fn texts() -> &'static Texts {
    TEXTS.get().expect("prepare() ran before the first request")
}

/// Makes them. None when Python has no memory; an exception is set then.
pub(super) fn prepare() -> Option<()> {
    if TEXTS.get().is_none() {
        let made = Texts::make()?;
        let _ = TEXTS.set(made);
    }
    Some(())
}
