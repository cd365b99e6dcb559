//! The exact bytes of every message, of the settings and of the inherited names. A program in another language was written
//! against them: whoever changes a golden file changes `protocol::VERSION` too.

use std::path::PathBuf;

use protocol::{
    FromWorker, Phase, ToWorker, VERSION, defaults,
    frame::{Decoder, encode},
    inherited,
    settings::{
        Application, AsgiSettings, AutomaticField, CgiAuthorization, CgiSettings, ClientCertificates,
        ContextVariables, EventLoop, Factory, ForwardedHeader, ForwardingSettings, HttpSettings, Interface,
        Lifespan, OnDisconnect, PlainListeners, ProxyProtocol, PythonSettings, ReplyField,
        ReplyFieldSettings, RootPathMode, SecureSchemeHeader, SpecVersion, TlsSettings, TlsVersion,
        TrustedPeer, WorkerSettings,
        access_log::{AccessLogDestination, AccessLogFormat, AccessLogSettings},
        wsgi::{WorkerClass, WsgiSettings},
    },
};

fn golden(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn every_message_to_a_worker() -> Vec<ToWorker> {
    vec![ToWorker::Drain { grace_ms: 30_000 }, ToWorker::ReloadCertificates, ToWorker::ReopenLogs]
}

fn every_message_from_a_worker() -> Vec<FromWorker> {
    let hello = |runtime: &str, stack_signal| FromWorker::Hello {
        version: VERSION,
        pid: 4711,
        runtime: runtime.into(),
        stack_signal,
    };
    let failed = |phase, message: &str| FromWorker::Failed { phase, message: message.into() };
    vec![
        hello("native", None),
        hello("CPython 3.11.7 (/srv/.venv/bin/python)", Some(42)),
        FromWorker::Loaded { application: "ASGI 3 application".into() },
        FromWorker::Ready,
        FromWorker::Heartbeat { loop_lag_ms: 3, in_flight: 17, oldest_request_ms: 1_250 },
        FromWorker::Draining,
        failed(Phase::Load, "ModuleNotFoundError: No module named 'myapp'"),
        failed(Phase::Startup, "the database said \"no\"\n\tat\u{1} café"),
        failed(Phase::Serve, "the listening socket is gone"),
        FromWorker::ReplaceMe { reason: "served 10000 requests".into() },
    ]
}

/// One name a variant; the compiler asks for a new one here, and the test below for its line in the golden file.
fn name_to(message: &ToWorker) -> &'static str {
    match message {
        ToWorker::Drain { .. } => "drain",
        ToWorker::ReloadCertificates => "reload_certificates",
        ToWorker::ReopenLogs => "reopen_logs",
    }
}

fn name_from(message: &FromWorker) -> &'static str {
    match message {
        FromWorker::Hello { .. } => "hello",
        FromWorker::Loaded { .. } => "loaded",
        FromWorker::Ready => "ready",
        FromWorker::Heartbeat { .. } => "heartbeat",
        FromWorker::Draining => "draining",
        FromWorker::Failed { .. } => "failed",
        FromWorker::ReplaceMe { .. } => "replace_me",
    }
}

fn decode_all<M: serde::de::DeserializeOwned>(text: &str) -> Vec<M> {
    let mut decoder = Decoder::default();
    decoder.push(text.as_bytes());
    let mut messages = Vec::new();
    while let Some(message) = decoder.next_message().unwrap_or_else(|error| panic!("{error}")) {
        messages.push(message);
    }
    messages
}

#[test]
fn messages_to_a_worker_are_these_bytes() {
    let messages = every_message_to_a_worker();
    let bytes: Vec<u8> = messages.iter().flat_map(|message| encode(message).unwrap()).collect();
    let expected = golden("to_worker.jsonl");
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    assert_eq!(decode_all::<ToWorker>(&expected), messages);
    let names: Vec<_> = messages.iter().map(name_to).collect();
    assert_eq!(names, ["drain", "reload_certificates", "reopen_logs"], "each message has its line");
}

#[test]
fn messages_from_a_worker_are_these_bytes() {
    let messages = every_message_from_a_worker();
    let bytes: Vec<u8> = messages.iter().flat_map(|message| encode(message).unwrap()).collect();
    let expected = golden("from_worker.jsonl");
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    assert_eq!(decode_all::<FromWorker>(&expected), messages);
    let mut names: Vec<_> = messages.iter().map(name_from).collect();
    names.dedup();
    let catalogue = ["hello", "loaded", "ready", "heartbeat", "draining", "failed", "replace_me"];
    assert_eq!(names, catalogue, "each message has its line");
}

fn http() -> HttpSettings {
    HttpSettings {
        keep_alive_timeout_ms: 75_000,
        header_read_timeout_ms: 15_000,
        body_read_timeout_ms: 30_000,
        body_bytes_per_second: 240,
        write_timeout_ms: 30_000,
        request_timeout_ms: 0,
        connections: 10_000,
        concurrent_requests: 0,
        queued_requests: 100,
        queue_timeout_ms: 10_000,
        request_line_bytes: 8_190,
        head_bytes: 65_536,
        header_count: 100,
        body_bytes: 0,
        drain_linger_ms: 1_000,
        http1: protocol::settings::http1::Http1Settings {
            half_close: protocol::settings::http1::HalfClose::Leaves,
        },
        http2: protocol::settings::Http2Settings {
            enabled: true,
            concurrent_streams: 100,
            header_list_bytes: 65_536,
            stream_window_bytes: 262_144,
            connection_window_bytes: 1_048_576,
            frame_bytes: 16_384,
            send_buffer_bytes: 65_536,
            pending_resets: 20,
            local_resets: 1_024,
            idle_frames: 1_000,
            ping_interval_ms: 30_000,
            ping_timeout_ms: 20_000,
        },
    }
}

/// Of the welcome app, without anything that may be left out.
fn plain() -> WorkerSettings {
    WorkerSettings {
        application: Application::Welcome,
        heartbeat_interval_ms: 1_000,
        graceful_timeout_ms: 30_000,
        http: http(),
        tls: None,
        forwarding: forwarding(),
        access_log: None,
        websocket: defaults::WEBSOCKET,
        reply_fields: ReplyFieldSettings {
            automatic: vec![AutomaticField::Date, AutomaticField::Server],
            added: vec![ReplyField { name: "x-a".into(), value: "b".into() }],
        },
        log_level: "info".into(),
        log_format: "text".into(),
    }
}

fn forwarding() -> ForwardingSettings {
    ForwardingSettings {
        forwarded_headers: vec![ForwardedHeader::XForwardedFor, ForwardedHeader::XForwardedProto],
        secure_scheme_headers: vec![SecureSchemeHeader {
            name: "x-forwarded-ssl".into(),
            value: "on".into(),
        }],
        forwarder_headers: vec!["SCRIPT_NAME".parse().expect("a name")],
        forwarded_allow_ips: vec![
            TrustedPeer::Network { address: [10, 0, 0, 0].into(), prefix_bits: 8 },
            TrustedPeer::Unix,
        ],
        proxy_protocol: ProxyProtocol::Auto,
        proxy_allow_ips: vec![TrustedPeer::Everyone],
    }
}

fn tls() -> [TlsSettings; 2] {
    let closed = TlsSettings {
        plain_listeners: 0,
        plain: PlainListeners::Serve,
        minimum_version: TlsVersion::Tls13,
        cipher_suites: vec![0x1301],
        client_certificates: ClientCertificates::Required,
        handshake_timeout_ms: 10_000,
    };
    let open = TlsSettings {
        plain_listeners: 1,
        plain: PlainListeners::RedirectToHttps { port: Some(443) },
        minimum_version: TlsVersion::Tls12,
        cipher_suites: Vec::new(),
        client_certificates: ClientCertificates::None,
        handshake_timeout_ms: 10_000,
    };
    [closed, open]
}

/// Another kind for each application.
fn access_log(application: &Application) -> Option<AccessLogSettings> {
    let (destination, format) = match application {
        Application::Welcome | Application::Cgi(_) => return None,
        Application::Native { .. } => (AccessLogDestination::Stdout, AccessLogFormat::Uvicorn),
        Application::Python(python) => match python.lifespan {
            Lifespan::Auto => (AccessLogDestination::File("/var/log/web.log".into()), AccessLogFormat::Json),
            Lifespan::On | Lifespan::Off => (
                AccessLogDestination::PythonLogger("gunicorn.access".into()),
                AccessLogFormat::Template("%(h)s".into()),
            ),
        },
    };
    Some(AccessLogSettings { destination, format })
}

fn every_kind_of_settings() -> Vec<WorkerSettings> {
    let python = |factory, interface, (worker_class, threads), lifespan, event_loop| {
        Application::Python(PythonSettings {
            target: "myapp.main:app".into(),
            python: Some("/srv/.venv/bin/python".into()),
            app_dir: "/srv".into(),
            factory,
            interface,
            wsgi: WsgiSettings {
                worker_class,
                threads,
                workers: 2,
                request_buffer_bytes: 1_048_576,
                reply_buffer_bytes: 1_048_576,
            },
            lifespan,
            event_loop,
            asgi: AsgiSettings {
                spec_version: SpecVersion::V2_5,
                root_path: "/shop".into(),
                root_path_mode: RootPathMode::Verbatim,
                on_disconnect: OnDisconnect::Cancel,
                context_variables: ContextVariables::Fresh,
            },
            env_file: None,
            log_config: Some("/srv/logging.ini".into()),
        })
    };
    [
        Application::Welcome,
        Application::Native { program: "/srv/bin/app".into() },
        Application::Cgi(CgiSettings {
            path: "/srv/cgi-bin".into(),
            timeout_ms: 300_000,
            processes: 32,
            authorization: CgiAuthorization::Withheld,
            environment: vec![("GREETING".into(), "hello".into())],
        }),
        python(Factory::Auto, Interface::Auto, (WorkerClass::Async, None), Lifespan::Auto, EventLoop::Auto),
        python(Factory::Call, Interface::Asgi3, (WorkerClass::Async, None), Lifespan::On, EventLoop::Asyncio),
        python(Factory::Call, Interface::Asgi2, (WorkerClass::Sync, None), Lifespan::Off, EventLoop::Uvloop),
        python(
            Factory::Auto,
            Interface::Wsgi,
            (WorkerClass::Threads, Some(8)),
            Lifespan::Auto,
            EventLoop::Factory("my:loop".into()),
        ),
    ]
    .map(|application| WorkerSettings { access_log: access_log(&application), application, ..plain() })
    .into_iter()
    .chain(tls().into_iter().map(|tls| WorkerSettings { tls: Some(tls), ..plain() }))
    .collect()
}

#[test]
fn settings_are_these_bytes() {
    let settings = every_kind_of_settings();
    let bytes: Vec<u8> = settings.iter().flat_map(|settings| encode(settings).unwrap()).collect();
    let expected = golden("worker_settings.jsonl");
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    assert_eq!(decode_all::<WorkerSettings>(&expected), settings);
}

#[test]
fn a_setting_that_nobody_knows_is_refused() {
    let known = golden("worker_settings.jsonl");
    let line = known.lines().next().unwrap();
    let odd = line.replacen('{', "{\"colour\":\"blue\",", 1);
    let error = serde_json::from_str::<WorkerSettings>(&odd).unwrap_err();
    assert!(error.to_string().contains("colour"), "{error}");
}

#[test]
fn inherited_names_are_these() {
    assert_eq!(inherited::ALL.join("\n") + "\n", golden("inherited_names.txt"));
}
