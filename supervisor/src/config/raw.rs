//! The settings as somebody wrote them: every one optional, nothing checked beyond its own text. The command line, the
//! `SUPERVISE_*` environment and the YAML all give this one type, so a setting has one name, one help text and one form.

mod layers;
mod written;

use std::path::PathBuf;

use clap::Args;
use protocol::settings::{
    CommaList, EventLoop, ForwardedHeader, ForwarderHeader, ProxyProtocol, ReplyField, RootPath,
    RootPathMode, SecureSchemeHeader, SpecVersion, TrustedPeer,
};
use serde::Deserialize;

use super::values::tls::{CipherSuites, ClientCertificatesChoice, RedirectHttps, Secret, TlsVersionChoice};
use super::values::{
    AccessLogFormatChoice, BindAddress, ByteSize, Choice, Count, EnvironmentEntry, FileMode, HalfCloseChoice,
    InterfaceChoice, LifespanChoice, LogFormat, LogLevel, MetricsAddress, Owner, Positive, QueueLength,
    Switch, TimeOrOff, TimeSpan, WebSocketChoice, WorkerClass, WorkerCount,
};

/// One layer of settings. The field names are the keys of the YAML; `SUPERVISE_` and the name in capitals is the
/// environment variable; with dashes it is the flag.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawSettings {
    /// What to serve: `package.module:attribute`, `package.module:factory()`, or the path of a program that links the
    /// `worker` library. Nothing: a welcome page, on loopback only
    #[arg(value_name = "APP")]
    pub app: Option<String>,

    /// How a worker runs its application: `async`, `threads` (WSGI) or `sync` (WSGI, one request at a time) [default: async]
    #[arg(short = 'k', long, help_heading = "Workers", value_name = "CLASS")]
    pub worker_class: Option<WorkerClass>,
    /// Number of workers, or `auto` for the cores that this process may use [default: 1, or WEB_CONCURRENCY]
    #[arg(short = 'w', long, help_heading = "Workers", value_name = "N|auto")]
    pub workers: Option<WorkerCount>,
    /// Threads of each worker for a WSGI application [default: 4; 1 with `sync`]
    #[arg(long, help_heading = "Workers", value_name = "N")]
    pub threads: Option<Positive>,
    /// Workers that may exist beyond `--workers` during a reload [default: 1]
    #[arg(long, help_heading = "Workers", value_name = "N")]
    pub max_surge: Option<Positive>,
    /// A worker whose loop is silent for so long is replaced [default: 30s]
    #[arg(short = 't', long, help_heading = "Workers", value_name = "TIME")]
    pub timeout: Option<TimeSpan>,
    /// Time for import and start-up of the application [default: 60s]
    #[arg(long, help_heading = "Workers", value_name = "TIME")]
    pub boot_timeout: Option<TimeSpan>,
    /// Time to finish what is in flight when a worker leaves [default: 30s]
    #[arg(long, help_heading = "Workers", value_name = "TIME")]
    pub graceful_timeout: Option<TimeSpan>,
    /// After TERM all goes on so long while /readyz says 503, so that balancers look elsewhere first; a second TERM cuts it short,
    /// INT and QUIT do not wait; or `off` [default: off]
    #[arg(long, help_heading = "Workers", value_name = "TIME|off")]
    pub shutdown_delay: Option<TimeOrOff>,
    /// A worker that has answered so many requests is replaced, once its successor is ready [default: 0, never]
    #[arg(long, help_heading = "Workers", value_name = "N", alias = "limit-max-requests")]
    pub max_requests: Option<Count>,
    /// Up to so many requests more, by chance, that workers are not due together [default: 0]
    #[arg(long, help_heading = "Workers", value_name = "N", alias = "limit-max-requests-jitter")]
    pub max_requests_jitter: Option<Count>,
    /// A worker that has served so long is replaced, once its successor is ready [default: off]
    #[arg(long, help_heading = "Workers", value_name = "TIME|off")]
    pub max_lifetime: Option<TimeOrOff>,
    /// Up to so much longer, by chance [default: off]
    #[arg(long, help_heading = "Workers", value_name = "TIME|off")]
    pub max_lifetime_jitter: Option<TimeOrOff>,
    /// A worker that holds so much memory of its own is replaced, once its successor is ready [default: 0, never]
    #[arg(long, help_heading = "Workers", value_name = "SIZE")]
    pub max_memory: Option<ByteSize>,
    /// A worker that holds so much memory of its own is killed and replaced at once [default: 0, never]
    #[arg(long, help_heading = "Workers", value_name = "SIZE")]
    pub max_memory_hard: Option<ByteSize>,
    /// Environment of the workers; repeatable
    #[arg(short = 'e', long, help_heading = "Workers", value_name = "KEY=VALUE")]
    #[serde(deserialize_with = "written::map_or_list")]
    pub env: Vec<EnvironmentEntry>,
    /// Working directory of the workers [default: where supervise was started]
    #[arg(long, help_heading = "Workers", value_name = "DIR")]
    pub chdir: Option<PathBuf>,

    /// Where to listen: `host:port`, `[::1]:port`, `unix:/path`; port 0 lets the system choose; repeatable
    /// [default: 127.0.0.1:8000, or 0.0.0.0:$PORT]
    #[arg(short = 'b', long, help_heading = "Listen", value_name = "ADDRESS")]
    #[serde(deserialize_with = "written::one_or_many")]
    pub bind: Vec<BindAddress>,
    /// As in uvicorn: host to listen at
    #[arg(long, help_heading = "Listen", value_name = "HOST", conflicts_with = "bind")]
    pub host: Option<String>,
    /// As in uvicorn: port to listen at
    #[arg(long, help_heading = "Listen", value_name = "PORT", conflicts_with = "bind")]
    pub port: Option<u16>,
    /// Who may connect to the unix sockets: permission bits in octal, as 0660 [default: 0666 without what --umask takes]
    #[arg(long, help_heading = "Listen", value_name = "MODE", visible_alias = "chmod-socket")]
    pub unix_socket_mode: Option<FileMode>,
    /// Whose the unix sockets are: `user`, `user:group` or `:group`, by name or number [default: of the user who runs this]
    #[arg(long, help_heading = "Listen", value_name = "OWNER", visible_alias = "chown-socket")]
    pub unix_socket_owner: Option<Owner>,
    /// Where /metrics, /healthz and /readyz are served, or `off` [default: 127.0.0.1:9464]
    #[arg(long, help_heading = "Listen", value_name = "ADDRESS|off")]
    pub metrics: Option<MetricsAddress>,

    /// Certificate and its chain, PEM: then every --bind speaks TLS; repeatable, one is chosen by the name that a client asks for
    #[arg(long, help_heading = "TLS", value_name = "FILE", alias = "ssl-certfile")]
    #[serde(deserialize_with = "written::one_or_many_paths")]
    pub certfile: Vec<PathBuf>,
    /// Private key, PEM, one for each --certfile [default: in the certificate's file]
    #[arg(long, help_heading = "TLS", value_name = "FILE", alias = "ssl-keyfile")]
    #[serde(deserialize_with = "written::one_or_many_paths")]
    pub keyfile: Vec<PathBuf>,
    /// Not as an option, which everybody can read in the process list: set SUPERVISE_KEYFILE_PASSWORD or use
    /// --keyfile-password-file
    #[arg(long, help_heading = "TLS", value_name = "PASSWORD", alias = "ssl-keyfile-password", hide = true)]
    pub keyfile_password: Option<Secret>,
    /// File whose first line is the password of the keys [default: the variable SUPERVISE_KEYFILE_PASSWORD]
    #[arg(long, help_heading = "TLS", value_name = "FILE")]
    pub keyfile_password_file: Option<PathBuf>,
    /// Authorities of the clients' certificates, PEM
    #[arg(long, help_heading = "TLS", value_name = "FILE", alias = "ssl-ca-certs")]
    pub ca_certs: Option<PathBuf>,
    /// Certificates of clients: none, optional or required [default: none]
    #[arg(long, help_heading = "TLS", value_name = "CHOICE", alias = "ssl-cert-reqs")]
    pub cert_reqs: Option<ClientCertificatesChoice>,
    /// Cipher suites, by OpenSSL's names with colons between [default: all that are good]
    #[arg(long, help_heading = "TLS", value_name = "NAMES", alias = "ssl-ciphers")]
    pub ciphers: Option<CipherSuites>,
    /// Oldest version that is spoken: 1.2 or 1.3 [default: 1.2]
    #[arg(long, help_heading = "TLS", value_name = "VERSION")]
    pub tls_minimum_version: Option<TlsVersionChoice>,
    /// A TLS handshake must be over after this time [default: 10s]
    #[arg(long, help_heading = "TLS", value_name = "TIME")]
    pub tls_handshake_timeout: Option<TimeSpan>,
    /// Where plain HTTP is spoken beside TLS; repeatable
    #[arg(long, help_heading = "TLS", value_name = "ADDRESS")]
    #[serde(deserialize_with = "written::one_or_many")]
    pub insecure_bind: Vec<BindAddress>,
    /// Every --insecure-bind sends its clients to https: to the port of the first --bind, or to the one named here
    #[arg(long, help_heading = "TLS", value_name = "true|false|PORT", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub redirect_https: Option<RedirectHttps>,

    /// An idle connection is closed after this time [default: 75s]
    #[arg(long, help_heading = "HTTP limits", value_name = "TIME")]
    pub keep_alive: Option<TimeSpan>,
    /// A request's head must be complete after this time [default: 15s]
    #[arg(long, help_heading = "HTTP limits", value_name = "TIME")]
    pub header_read_timeout: Option<TimeSpan>,
    /// A request's body must make progress this often [default: 30s]
    #[arg(long, help_heading = "HTTP limits", value_name = "TIME")]
    pub body_read_timeout: Option<TimeSpan>,
    /// A request's body must come this fast on average, in bytes a second, after 5 s of waiting for it; 0 for no bound [default: 240]
    #[arg(long, help_heading = "HTTP limits", value_name = "SIZE")]
    pub min_body_rate: Option<ByteSize>,
    /// A client must take some of a reply this often [default: 30s]
    #[arg(long, help_heading = "HTTP limits", value_name = "TIME")]
    pub write_timeout: Option<TimeSpan>,
    /// A request must be answered in full after this time, or `off`: 503, or its reply is broken off; not for WebSockets [default: off]
    #[arg(long, help_heading = "HTTP limits", value_name = "TIME|off")]
    pub request_timeout: Option<TimeOrOff>,
    /// Connections of each worker, within its descriptors; more wait in the kernel's queue [default: 10000]
    #[arg(long, help_heading = "HTTP limits", value_name = "N")]
    pub worker_connections: Option<Positive>,
    /// Requests that the application of each worker has at once; more wait in a queue [default: no bound]
    #[arg(long, help_heading = "HTTP limits", value_name = "N")]
    pub limit_concurrency: Option<Positive>,
    /// Requests that wait in that queue; more are answered 503 [default: 100]
    #[arg(long, help_heading = "HTTP limits", value_name = "N")]
    pub limit_queue: Option<QueueLength>,
    /// How long a request waits in that queue before it is answered 503 [default: 10s]
    #[arg(long, help_heading = "HTTP limits", value_name = "TIME")]
    pub queue_timeout: Option<TimeSpan>,
    /// Idle connections of a worker that leaves are kept this long for one last request [default: 1s]
    #[arg(long, help_heading = "HTTP limits", value_name = "TIME")]
    pub drain_linger: Option<TimeSpan>,
    /// What a client means that closes its sending side before its reply: `leaves`, or `waits` for it [default: leaves]
    #[arg(long, help_heading = "HTTP limits", value_name = "leaves|waits")]
    pub half_close: Option<HalfCloseChoice>,
    /// Longest request line [default: 8190]
    #[arg(long, help_heading = "HTTP limits", value_name = "SIZE")]
    pub limit_request_line: Option<ByteSize>,
    /// Longest request head in all [default: 64KiB]
    #[arg(long, help_heading = "HTTP limits", value_name = "SIZE")]
    pub limit_request_head: Option<ByteSize>,
    /// Most header fields of a request [default: 100]
    #[arg(long, help_heading = "HTTP limits", value_name = "N")]
    pub limit_request_fields: Option<Positive>,
    /// Largest request body; 0 for no bound [default: 0]
    #[arg(long, help_heading = "HTTP limits", value_name = "SIZE")]
    pub limit_request_body: Option<ByteSize>,

    /// HTTP/2, by ALPN and by prior knowledge [default: true]
    #[arg(long, help_heading = "HTTP/2", value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub http2: Option<Switch>,
    /// Streams that a client may have open at once [default: 100]
    #[arg(long, help_heading = "HTTP/2", value_name = "N")]
    pub http2_max_concurrent_streams: Option<Positive>,
    /// Largest list of header fields of a request [default: 64KiB]
    #[arg(long, help_heading = "HTTP/2", value_name = "SIZE")]
    pub http2_max_header_list_size: Option<ByteSize>,
    /// Largest frame of a client, 16KiB to 16MiB less one byte [default: 16KiB]
    #[arg(long, help_heading = "HTTP/2", value_name = "SIZE")]
    pub http2_max_frame_size: Option<ByteSize>,
    /// Body of one request that may wait for the application [default: 256KiB]
    #[arg(long, help_heading = "HTTP/2", value_name = "SIZE")]
    pub http2_initial_window_size: Option<ByteSize>,
    /// The same for all requests of a connection, from 65535 bytes on [default: 1MiB]
    #[arg(long, help_heading = "HTTP/2", value_name = "SIZE")]
    pub http2_connection_window_size: Option<ByteSize>,
    /// Reply that may wait for the window of its stream [default: 64KiB]
    #[arg(long, help_heading = "HTTP/2", value_name = "SIZE")]
    pub http2_send_buffer_size: Option<ByteSize>,
    /// Streams reset before they were looked at, beyond which a connection is closed [default: 20]
    #[arg(long, help_heading = "HTTP/2", value_name = "N")]
    pub http2_max_pending_resets: Option<Positive>,
    /// Streams reset for a client's errors, beyond which a connection is closed [default: 1024]
    #[arg(long, help_heading = "HTTP/2", value_name = "N")]
    pub http2_max_local_resets: Option<Positive>,
    /// Frames in ten seconds that carry nothing, beyond which a connection is closed [default: 1000]
    #[arg(long, help_heading = "HTTP/2", value_name = "N")]
    pub http2_max_idle_frames: Option<Positive>,
    /// A client that is silent for so long is asked by PING whether it is there, or `off` [default: 30s]
    #[arg(long, help_heading = "HTTP/2", value_name = "TIME|off")]
    pub http2_ping_interval: Option<TimeOrOff>,
    /// A client must be heard of this long after a PING, or `off` [default: 20s]
    #[arg(long, help_heading = "HTTP/2", value_name = "TIME|off")]
    pub http2_ping_timeout: Option<TimeOrOff>,

    /// A CGI program must end after this time [default: 5m]
    #[arg(long, help_heading = "CGI", value_name = "TIME")]
    pub cgi_timeout: Option<TimeSpan>,
    /// CGI programs that run at once in each worker; more wait in a bounded queue [default: 32]
    #[arg(long, help_heading = "CGI", value_name = "N")]
    pub cgi_processes: Option<Positive>,
    /// CGI programs see the Authorization field of requests [default: false]
    #[arg(long, help_heading = "CGI", value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub cgi_pass_authorization: Option<Switch>,

    /// Believe the header fields by which proxies tell the client and its scheme [default: true]
    #[arg(long, help_heading = "Proxies in front", value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub proxy_headers: Option<Switch>,
    /// Which of them: x-forwarded-for, -proto, -host, -port, -prefix, x-script-name, or forwarded (RFC 7239); name only those that your proxy
    /// sets, for it passes on what clients write into others [default: x-forwarded-for,x-forwarded-proto]
    #[arg(long, help_heading = "Proxies in front", value_name = "NAMES")]
    pub forwarded_headers: Option<CommaList<ForwardedHeader>>,
    /// Fields that say by a value of their own that the client came by https, as `X-Forwarded-Ssl=on`: instead of x-forwarded-proto;
    /// none unless named
    #[arg(long, help_heading = "Proxies in front", value_name = "NAME=VALUE")]
    pub secure_scheme_headers: Option<CommaList<SecureSchemeHeader>>,
    /// Fields with `_` in their names that your proxy sets and clients cannot, as SCRIPT_NAME (where the application is mounted) or
    /// REMOTE_USER (HTTP_REMOTE_USER for the application); none unless named
    #[arg(long, help_heading = "Proxies in front", value_name = "NAMES")]
    pub forwarder_headers: Option<CommaList<ForwarderHeader>>,
    /// Proxies that are believed: addresses, networks, `unix:`, or `*` for everybody
    /// [default: 127.0.0.1,::1,unix:, or FORWARDED_ALLOW_IPS]
    #[arg(long, help_heading = "Proxies in front", value_name = "PEERS")]
    pub forwarded_allow_ips: Option<CommaList<TrustedPeer>>,
    /// Connections of `--proxy-allow-ips` must begin with a PROXY header: off, v1, v2 or auto (either) [default: off]
    #[arg(long, help_heading = "Proxies in front", value_name = "VERSION")]
    pub proxy_protocol: Option<Choice<ProxyProtocol>>,
    /// Balancers that send a PROXY header [default: 127.0.0.1,::1,unix:]
    #[arg(long, visible_alias = "proxy-allow-from", help_heading = "Proxies in front", value_name = "PEERS")]
    pub proxy_allow_ips: Option<CommaList<TrustedPeer>>,

    /// One line for each request [default: on a terminal]
    #[arg(long, help_heading = "Access log", value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub access_log: Option<Switch>,
    /// No access log, whatever else is said about it
    #[arg(long, help_heading = "Access log", value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true", conflicts_with = "access_log")]
    pub no_access_log: Option<Switch>,
    /// Where its lines go: a file, which USR1 reopens, or `-` for standard output [default: standard output]
    #[arg(long, help_heading = "Access log", value_name = "FILE|-", allow_hyphen_values = true)]
    pub access_logfile: Option<String>,
    /// How a line looks: uvicorn, common, combined, json or a template with gunicorn's atoms, as `%(h)s "%(r)s" %(s)s`
    /// [default: uvicorn; combined with --access-logfile]
    #[arg(long, help_heading = "Access log", value_name = "FORMAT")]
    pub access_logformat: Option<AccessLogFormatChoice>,
    /// A logger of Python's `logging` gets the lines instead: uvicorn.access, gunicorn.access or any other
    #[arg(long, help_heading = "Access log", value_name = "NAME")]
    pub access_logger: Option<String>,
    /// Header field of every reply; repeatable
    #[arg(long, help_heading = "Replies", value_name = "NAME:VALUE")]
    #[serde(deserialize_with = "written::fields")]
    pub header: Vec<ReplyField>,
    /// Send a Server field where the application has none [default: true]
    #[arg(long, help_heading = "Replies", value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub server_header: Option<Switch>,
    /// Send a Date field where the application has none [default: true]
    #[arg(long, help_heading = "Replies", value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub date_header: Option<Switch>,

    /// Interpreter [default: $VIRTUAL_ENV, $CONDA_PREFIX, ./.venv, then python3 on PATH]
    #[arg(long, help_heading = "Python", value_name = "PATH")]
    pub python: Option<PathBuf>,
    /// Put first on sys.path [default: the working directory]
    #[arg(long, help_heading = "Python", value_name = "DIR")]
    pub app_dir: Option<PathBuf>,
    /// The attribute is a function that returns the application
    #[arg(long, help_heading = "Python", value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub factory: Option<Switch>,
    /// What the application speaks: auto (found by looking), asgi3, wsgi, or cgi (APP is a directory of programs, or a program)
    /// [default: auto]
    #[arg(long, help_heading = "Workers", value_name = "INTERFACE")]
    pub interface: Option<InterfaceChoice>,
    /// ASGI lifespan: auto, on or off [default: auto]
    #[arg(long, help_heading = "Python", value_name = "MODE")]
    pub lifespan: Option<LifespanChoice>,
    /// Event loop: auto (uvloop where it is installed), asyncio, uvloop, or `module:factory` [default: auto]
    #[arg(long = "loop", help_heading = "Python", value_name = "LOOP")]
    #[serde(rename = "loop")]
    pub event_loop: Option<Choice<EventLoop>>,
    /// Version of ASGI in the scope: 2.3 (sending to a client that left does nothing) or 2.5 (it raises an OSError) [default: 2.3]
    #[arg(long, help_heading = "Python", value_name = "VERSION")]
    pub asgi_spec_version: Option<Choice<SpecVersion>>,
    /// Where the application is mounted, as `/shop`: the `root_path` of ASGI
    #[arg(long, help_heading = "Python", value_name = "PATH")]
    pub root_path: Option<Choice<RootPath>>,
    /// prepend (the proxy took the root path off, and it is put back) or verbatim (the path still has it) [default: prepend]
    #[arg(long, help_heading = "Python", value_name = "MODE")]
    pub root_path_mode: Option<Choice<RootPathMode>>,
    /// Cancel the task of a request whose client left [default: false]
    #[arg(long, help_heading = "Python", value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub cancel_on_disconnect: Option<Switch>,
    /// Begin each request without context variables, instead of with those of the start-up [default: false]
    #[arg(long, help_heading = "Python", value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub reset_contextvars: Option<Switch>,
    /// WSGI: body of a request that is read before the application is called [default: 1MiB]
    #[arg(long, help_heading = "Python", value_name = "SIZE")]
    pub wsgi_request_buffer: Option<ByteSize>,
    /// WSGI: part of a reply that may wait for the client before the application does [default: 1MiB]
    #[arg(long, help_heading = "Python", value_name = "SIZE")]
    pub wsgi_reply_buffer: Option<ByteSize>,
    /// File of KEY=VALUE lines, put into the environment before the import
    #[arg(long, help_heading = "Python", value_name = "FILE")]
    pub env_file: Option<PathBuf>,
    /// File (.json, .yaml, .ini) for Python's logging.config
    #[arg(long, help_heading = "Python", value_name = "FILE")]
    pub log_config: Option<PathBuf>,

    /// WebSocket: auto, or none: handshakes are served as plain requests [default: auto]
    #[arg(long, help_heading = "WebSocket", value_name = "auto|none")]
    pub ws: Option<WebSocketChoice>,
    /// Largest message, inflated [default: 16MiB]
    #[arg(long, help_heading = "WebSocket", value_name = "SIZE")]
    pub ws_max_size: Option<ByteSize>,
    /// A client is pinged this often, or `off` [default: 20s]
    #[arg(long, help_heading = "WebSocket", value_name = "TIME|off")]
    pub ws_ping_interval: Option<TimeOrOff>,
    /// A client must be heard of this long after a ping, or `off` [default: 20s]
    #[arg(long, help_heading = "WebSocket", value_name = "TIME|off")]
    pub ws_ping_timeout: Option<TimeOrOff>,
    /// Messages are deflated where the client offers it [default: true]
    #[arg(long, help_heading = "WebSocket", value_name = "true|false")]
    pub ws_per_message_deflate: Option<Switch>,

    /// Write what happens and what is decided here, for `supervise replay`; a recording that is there is kept as FILE.old
    #[arg(long, help_heading = "Process", value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Write the process id here
    #[arg(short = 'p', long, help_heading = "Process", value_name = "FILE")]
    pub pid: Option<PathBuf>,
    /// Rights that nobody gets on what is made, in octal, as 0027: files of supervise and its workers, unix sockets [default: as
    /// it was started; unix sockets 0]
    #[arg(short = 'm', long, help_heading = "Process", value_name = "MASK")]
    pub umask: Option<FileMode>,
    /// error, warn, info, debug or trace [default: info]
    #[arg(long, help_heading = "Process", value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,
    /// auto, text or json [default: auto]
    #[arg(long, help_heading = "Process", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Serve the welcome page beyond loopback too
    #[arg(long, help_heading = "Process", value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub welcome: Option<Switch>,
}

impl RawSettings {
    /// The names of all settings, as the YAML has them.
    #[must_use]
    pub fn names() -> Vec<String> {
        let command = Self::augment_args(clap::Command::new("settings"));
        command.get_arguments().map(|argument| argument.get_long().map_or("app".into(), yaml_name)).collect()
    }
}

fn yaml_name(flag: &str) -> String {
    flag.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::RawSettings;

    #[test]
    fn every_flag_is_a_key_of_the_yaml() {
        for name in RawSettings::names() {
            let text = format!("{{\"{name}\": []}}");
            let refused = serde_json::from_str::<RawSettings>(&text).err().map(|error| error.to_string());
            assert!(!refused.unwrap_or_default().contains("unknown field"), "{name} is a flag but no key");
        }
        assert!(serde_json::from_str::<RawSettings>("{\"wrokers\": 1}").is_err());
    }
}
