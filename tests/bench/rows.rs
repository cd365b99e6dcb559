//! The rows of the table: what is measured, against whom, and how good it must be. A new promise of speed is a new row here.

use clap::builder::PossibleValuesParser;
use serde::Serialize;

use crate::contenders::{Application, Contender, GRANIAN, GRANIAN_WSGI};

/// One promise of speed or size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) title: &'static str,
    pub(crate) application: Application,
    pub(crate) path: &'static str,
    pub(crate) fields: Fields,
    pub(crate) protocol: Protocol,
    pub(crate) answer: Answer,
    pub(crate) workload: Workload,
    pub(crate) bounds: &'static [Bound],
    /// Measured on demand, for orientation.
    pub(crate) others: &'static [Contender],
}

/// The header fields of the request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fields {
    /// `Host` alone.
    HostOnly,
    /// The 14 that a browser sends.
    Browser,
    /// Those of a POST, whose body has so many bytes.
    Upload { body_bytes: usize },
}

/// What is spoken on the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// HTTP/2 without TLS, by prior knowledge.
    Http2,
    /// HTTP/1.1 over TLS, where the contender can choose; see [`Contender::transport`].
    Http1OverTls,
    WebSocket,
}

/// What must come back.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    Exactly(&'static str),
    /// A body of so many bytes, all alike.
    Uniform {
        bytes: usize,
    },
    /// Whatever supervise answers first; the others are made to answer the same.
    AsSupervise,
}

/// How the server is used.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Workload {
    /// As many requests as it can serve, over so many keep-alive connections.
    Saturated { connections: usize },
    /// The same by h2load, over so many connections with so many requests at a time on each.
    H2load { connections: u32, streams: u32 },
    /// Messages of so many bytes, each sent when the echo of the one before is there, by so many clients.
    WebSocketEcho { clients: usize, message_bytes: usize },
    /// So many requests a second, over so many keep-alive connections.
    Paced { rate: u32, connections: usize },
    /// As many requests as it can serve, each on a connection of its own, so many at a time.
    NewConnections { at_a_time: usize },
    /// Started, until the first 200.
    Start,
    /// Left alone.
    Idle { workers: u32 },
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Figure {
    CpuMicrosecondsPerRequest,
    RequestsPerSecond,
    LatencyP50Milliseconds,
    LatencyP99Milliseconds,
    StartMilliseconds,
    SupervisorPssMebibytes,
    TreePssMebibytes,
    SupervisorWakeUpsPerSecond,
}

/// How good a figure of supervise must be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) figure: Figure,
    pub(crate) against: Against,
    pub(crate) at_most: f64,
}

/// What a bound compares with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Against {
    /// A number.
    Absolute,
    /// The best of these: the one whose own median over the rounds is lowest. Of its per-round ratios the median counts.
    Best(&'static [Contender]),
    /// What `dear` costs a peer over `cheap`: supervise's ratio to its own `own` divided by the peer's ratio, round by round.
    RatioOf { own: Contender, dear: Contender, cheap: Contender },
}

use Contender::{
    BareHyper, GranianMt, GranianSt, GranianStRust, GunicornAsgi, GunicornUvicorn, Hypercorn, Nginx,
    NginxTls, SupervisePlain, Uvicorn, Uwsgi,
};

const UVICORN: &[Contender] = &[Uvicorn];
const GUNICORN: &[Contender] = &[GunicornAsgi];
const ANY_PEER: &[Contender] = &[Uvicorn, GranianSt, GranianMt, GranianStRust, GunicornAsgi];
const WSGI_PEERS: &[Contender] = &[GranianSt, GranianMt, Uwsgi];
const WEBSOCKET_PEERS: &[Contender] = &[Uvicorn, GunicornUvicorn, GranianSt, GranianMt, GranianStRust];
const KEEP_ALIVE: Workload = Workload::Saturated { connections: 64 };

/// Every row, in the order of the table.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "plaintext",
        title: "plaintext ASGI, 64 keep-alive connections, one worker",
        application: Application::Python("plain:app"),
        path: "/",
        fields: Fields::HostOnly,
        protocol: Protocol::Http1,
        answer: Answer::Exactly("Hello, World!"),
        workload: KEEP_ALIVE,
        bounds: &[cpu(GRANIAN, 0.50), cpu(UVICORN, 0.25), cpu(GUNICORN, 0.20)],
        others: &[GunicornUvicorn, Hypercorn, Nginx, BareHyper],
    },
    Row {
        name: "browser",
        title: "plaintext ASGI with 14 browser headers",
        application: Application::Python("plain:app"),
        path: "/",
        fields: Fields::Browser,
        protocol: Protocol::Http1,
        answer: Answer::Exactly("Hello, World!"),
        workload: KEEP_ALIVE,
        bounds: &[cpu(GRANIAN, 0.75), cpu(UVICORN, 0.30)],
        others: &[GunicornAsgi, GunicornUvicorn, Hypercorn, Nginx, BareHyper],
    },
    Row {
        name: "fastapi",
        title: "FastAPI JSON route",
        application: Application::Python("fastapi_json:app"),
        path: "/items/42?q=hello",
        fields: Fields::HostOnly,
        protocol: Protocol::Http1,
        answer: Answer::Exactly(r#"{"item_id":42,"q":"hello"}"#),
        workload: KEEP_ALIVE,
        bounds: &[cpu(UVICORN, 0.90), cpu(GRANIAN, 0.95)],
        others: &[GunicornAsgi, GunicornUvicorn, Hypercorn],
    },
    Row {
        name: "starlette",
        title: "Starlette JSON route",
        application: Application::Python("starlette_json:app"),
        path: "/",
        fields: Fields::HostOnly,
        protocol: Protocol::Http1,
        answer: Answer::Exactly(r#"{"message":"Hello, World!"}"#),
        workload: KEEP_ALIVE,
        bounds: &[cpu(UVICORN, 0.67)],
        others: &[GranianSt, GranianMt, GranianStRust, GunicornAsgi, GunicornUvicorn, Hypercorn],
    },
    Row {
        name: "unsaturated",
        title: "plaintext ASGI, 2,000 requests/s over 64 connections",
        application: Application::Python("plain:app"),
        path: "/",
        fields: Fields::HostOnly,
        protocol: Protocol::Http1,
        answer: Answer::Exactly("Hello, World!"),
        workload: Workload::Paced { rate: 2000, connections: 64 },
        bounds: &[
            cpu(ANY_PEER, 0.80),
            Bound { figure: Figure::LatencyP99Milliseconds, against: Against::Best(ANY_PEER), at_most: 1.25 },
        ],
        others: &[GunicornUvicorn, Hypercorn, Nginx, BareHyper],
    },
    Row {
        name: "echo-10k",
        title: "ASGI echo of 10 KiB, 64 keep-alive connections",
        application: Application::Python("bodies:app"),
        path: "/echo",
        fields: Fields::Upload { body_bytes: 10 * 1024 },
        protocol: Protocol::Http1,
        answer: Answer::Uniform { bytes: 10 * 1024 },
        workload: KEEP_ALIVE,
        bounds: &[cpu(GRANIAN, 0.40), cpu(UVICORN, 0.28)],
        others: &[GunicornAsgi],
    },
    Row {
        name: "echo-64k",
        title: "ASGI echo of 64 KiB, 64 keep-alive connections",
        application: Application::Python("bodies:app"),
        path: "/echo",
        fields: Fields::Upload { body_bytes: 64 * 1024 },
        protocol: Protocol::Http1,
        answer: Answer::Uniform { bytes: 64 * 1024 },
        workload: KEEP_ALIVE,
        bounds: &[cpu(GRANIAN, 0.55), cpu(UVICORN, 0.40)],
        others: &[GunicornAsgi],
    },
    Row {
        name: "download-1m",
        title: "ASGI download of 1 MiB, 16 keep-alive connections",
        application: Application::Python("bodies:app"),
        path: "/",
        fields: Fields::HostOnly,
        protocol: Protocol::Http1,
        answer: Answer::Uniform { bytes: 1024 * 1024 },
        workload: Workload::Saturated { connections: 16 },
        bounds: &[cpu(ANY_PEER, 0.85)],
        others: &[],
    },
    Row {
        name: "http2",
        title: "plaintext ASGI over HTTP/2, 8 connections with 32 streams each (h2load)",
        application: Application::Python("plain:app"),
        path: "/",
        fields: Fields::HostOnly,
        protocol: Protocol::Http2,
        answer: Answer::Exactly("Hello, World!"),
        workload: Workload::H2load { connections: 8, streams: 32 },
        bounds: &[cpu(GRANIAN, 0.65), cpu(&[Hypercorn], 0.05)],
        others: &[],
    },
    Row {
        name: "tls",
        title: "plaintext ASGI over TLS, 64 keep-alive connections (h2load)",
        application: Application::Python("plain:app"),
        path: "/",
        fields: Fields::HostOnly,
        protocol: Protocol::Http1OverTls,
        answer: Answer::Exactly("Hello, World!"),
        workload: Workload::H2load { connections: 64, streams: 1 },
        bounds: &[
            cpu(&[SupervisePlain], 1.35),
            Bound {
                figure: Figure::CpuMicrosecondsPerRequest,
                against: Against::RatioOf { own: SupervisePlain, dear: NginxTls, cheap: Nginx },
                at_most: 1.10,
            },
        ],
        others: &[],
    },
    Row {
        name: "websocket-64",
        title: "WebSocket echo of 64 bytes, 64 clients",
        application: Application::Python("echo:app"),
        path: "/",
        fields: Fields::HostOnly,
        protocol: Protocol::WebSocket,
        answer: Answer::Exactly("ready"),
        workload: Workload::WebSocketEcho { clients: 64, message_bytes: 64 },
        bounds: &[cpu(WEBSOCKET_PEERS, 0.60)],
        others: &[GunicornAsgi, Hypercorn],
    },
    Row {
        name: "websocket-16k",
        title: "WebSocket echo of 16 KiB, 64 clients",
        application: Application::Python("echo:app"),
        path: "/",
        fields: Fields::HostOnly,
        protocol: Protocol::WebSocket,
        answer: Answer::Exactly("ready"),
        workload: Workload::WebSocketEcho { clients: 64, message_bytes: 16 * 1024 },
        bounds: &[cpu(WEBSOCKET_PEERS, 0.60)],
        others: &[GunicornAsgi, Hypercorn],
    },
    Row {
        name: "wsgi-sync",
        title: "plaintext WSGI by the class sync, 64 keep-alive connections, one worker",
        application: Application::Wsgi { target: "plain_wsgi:app", worker_class: "sync" },
        path: "/",
        fields: Fields::HostOnly,
        protocol: Protocol::Http1,
        answer: Answer::Exactly("Hello, World!"),
        workload: KEEP_ALIVE,
        bounds: &[cpu(GRANIAN_WSGI, 0.65)],
        others: &[],
    },
    Row {
        name: "wsgi-threads",
        title: "plaintext WSGI by the class threads with one thread",
        application: Application::Wsgi { target: "plain_wsgi:app", worker_class: "threads" },
        path: "/",
        fields: Fields::HostOnly,
        protocol: Protocol::Http1,
        answer: Answer::Exactly("Hello, World!"),
        workload: KEEP_ALIVE,
        bounds: &[cpu(GRANIAN_WSGI, 0.65)],
        others: &[],
    },
    Row {
        name: "flask",
        title: "Flask JSON route by the class threads with one thread",
        application: Application::Wsgi { target: "flask_json:app", worker_class: "threads" },
        path: "/items/42",
        fields: Fields::HostOnly,
        protocol: Protocol::Http1,
        answer: Answer::Exactly("{\"number\":42}\n"),
        workload: KEEP_ALIVE,
        bounds: &[cpu(WSGI_PEERS, 0.95)],
        others: &[],
    },
    Row {
        name: "django",
        title: "Django JSON view by the class threads with one thread",
        application: Application::Wsgi { target: "django_json:app", worker_class: "threads" },
        path: "/items/42",
        fields: Fields::HostOnly,
        protocol: Protocol::Http1,
        answer: Answer::Exactly(r#"{"number": 42}"#),
        workload: KEEP_ALIVE,
        bounds: &[cpu(WSGI_PEERS, 0.95)],
        others: &[],
    },
    Row {
        name: "new-connections",
        title: "plaintext ASGI, a new connection for each request",
        application: Application::Python("plain:app"),
        path: "/",
        fields: Fields::HostOnly,
        protocol: Protocol::Http1,
        answer: Answer::Exactly("Hello, World!"),
        workload: Workload::NewConnections { at_a_time: 64 },
        bounds: &[],
        others: &[GranianSt, Uvicorn, GunicornAsgi, GunicornUvicorn, Hypercorn, Nginx, BareHyper],
    },
    Row {
        name: "start",
        title: "start of a trivial ASGI app: exec to the first 200",
        application: Application::Python("plain:app"),
        path: "/",
        fields: Fields::HostOnly,
        protocol: Protocol::Http1,
        answer: Answer::Exactly("Hello, World!"),
        workload: Workload::Start,
        bounds: &[Bound {
            figure: Figure::StartMilliseconds,
            against: Against::Best(GRANIAN),
            at_most: 0.60,
        }],
        others: &[Uvicorn, GunicornAsgi, GunicornUvicorn, Hypercorn],
    },
    Row {
        name: "welcome-start",
        title: "start of the welcome app: exec to the first 200",
        application: Application::BuiltIn,
        path: "/healthz",
        fields: Fields::HostOnly,
        protocol: Protocol::Http1,
        answer: Answer::AsSupervise,
        workload: Workload::Start,
        bounds: &[Bound { figure: Figure::StartMilliseconds, against: Against::Absolute, at_most: 30.0 }],
        others: &[BareHyper, Nginx],
    },
    Row {
        name: "native",
        title: "native plaintext (the welcome app's /healthz), 64 keep-alive connections, one worker",
        application: Application::BuiltIn,
        path: "/healthz",
        fields: Fields::HostOnly,
        protocol: Protocol::Http1,
        answer: Answer::AsSupervise,
        workload: KEEP_ALIVE,
        bounds: &[cpu(&[BareHyper], 1.15)],
        others: &[Nginx],
    },
    Row {
        name: "idle",
        title: "idle supervisor with four ASGI workers, metrics on",
        application: Application::Python("plain:app"),
        path: "/",
        fields: Fields::HostOnly,
        protocol: Protocol::Http1,
        answer: Answer::Exactly("Hello, World!"),
        workload: Workload::Idle { workers: 4 },
        bounds: &[
            Bound { figure: Figure::SupervisorPssMebibytes, against: Against::Absolute, at_most: 6.0 },
            Bound { figure: Figure::SupervisorWakeUpsPerSecond, against: Against::Absolute, at_most: 10.0 },
        ],
        others: &[GranianSt, GunicornAsgi, GunicornUvicorn, Uvicorn, Hypercorn],
    },
];

const fn cpu(peers: &'static [Contender], at_most: f64) -> Bound {
    Bound { figure: Figure::CpuMicrosecondsPerRequest, against: Against::Best(peers), at_most }
}

/// For the command line.
pub(crate) fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(ROWS.iter().map(|row| row.name))
}

impl Row {
    /// supervise and whom its bounds name.
    pub(crate) fn contenders(&self) -> Vec<Contender> {
        let mut contenders = vec![Contender::Supervise];
        for bound in self.bounds {
            let named = match bound.against {
                Against::Absolute => Vec::new(),
                Against::Best(peers) => peers.to_vec(),
                Against::RatioOf { own, dear, cheap } => vec![own, dear, cheap],
            };
            for peer in named {
                if !contenders.contains(&peer) {
                    contenders.push(peer);
                }
            }
        }
        contenders
    }

    /// Six; twenty where a bound is so tight that noise could decide it, and for starts, which are short.
    pub(crate) fn rounds(&self) -> u32 {
        let tight = self.bounds.iter().any(|bound| match bound.against {
            Against::Absolute => false,
            Against::Best(_) | Against::RatioOf { .. } => bound.at_most >= 0.80,
        });
        match self.workload {
            Workload::Start => 20,
            Workload::Idle { .. } => 3,
            Workload::Saturated { .. }
            | Workload::H2load { .. }
            | Workload::WebSocketEcho { .. }
            | Workload::Paced { .. }
            | Workload::NewConnections { .. } => {
                if tight {
                    20
                } else {
                    6
                }
            }
        }
    }
}

impl Figure {
    /// With its unit.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Figure::CpuMicrosecondsPerRequest => "CPU µs/request",
            Figure::RequestsPerSecond => "requests/s",
            Figure::LatencyP50Milliseconds => "p50 ms",
            Figure::LatencyP99Milliseconds => "p99 ms",
            Figure::StartMilliseconds => "start ms",
            Figure::SupervisorPssMebibytes => "supervisor PSS MiB",
            Figure::TreePssMebibytes => "tree PSS MiB",
            Figure::SupervisorWakeUpsPerSecond => "supervisor wake-ups/s",
        }
    }
}
