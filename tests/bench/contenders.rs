//! The servers of the bench and their command lines, each at its best known setting for one processor.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use clap::ValueEnum;
use serde::Serialize;

use crate::rows::Protocol;

/// One server with one setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contender {
    Supervise,
    /// supervise without TLS in a row that has it.
    SupervisePlain,
    GranianSt,
    GranianMt,
    /// granian's own Task in place of asyncio's; Python < 3.12 only.
    GranianStRust,
    /// uWSGI, which has one request a connection: with kept ones its one process would serve nobody but the first client.
    Uwsgi,
    Uvicorn,
    GunicornAsgi,
    GunicornUvicorn,
    Hypercorn,
    Nginx,
    /// nginx with TLS; [`Contender::Nginx`] never has it.
    NginxTls,
    BareHyper,
}

/// What becomes of a connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// It is kept for the next request.
    Kept,
    /// The server closes it, and says so in the answer.
    ClosedEachTime,
}

/// What lies between the socket and HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Plain,
    Tls,
}

/// granian's settings: a bound against granian is against the best of them.
pub(crate) const GRANIAN: &[Contender] =
    &[Contender::GranianSt, Contender::GranianMt, Contender::GranianStRust];

/// granian's settings that make a difference to WSGI.
pub(crate) const GRANIAN_WSGI: &[Contender] = &[Contender::GranianSt, Contender::GranianMt];

/// What a server is to serve.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Served<'a> {
    pub(crate) application: Application,
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
    pub(crate) workers: u32,
    pub(crate) status_server: StatusServer,
    /// For servers that run no application: what they answer.
    pub(crate) fixed_body: &'a [u8],
}

/// Where the answers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Application {
    /// What the server itself can answer: the welcome app, or fixed bytes.
    BuiltIn,
    /// `module:attribute` in the bench's folder of apps: ASGI.
    Python(&'static str),
    /// The same: WSGI, by this worker class of supervise with one thread; the others have one thread too.
    Wsgi { target: &'static str, worker_class: &'static str },
}

/// Whether supervise's metrics and health endpoints are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatusServer {
    Off,
    On,
}

/// Where things are.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The binaries of this workspace.
    pub(crate) binaries: PathBuf,
    /// The virtual environment of the peers.
    pub(crate) venv: PathBuf,
    /// Minor version of its Python 3.
    pub(crate) python_minor: u32,
    pub(crate) apps: PathBuf,
    /// For configuration files and the output of servers.
    pub(crate) scratch: PathBuf,
}

impl Places {
    /// The bench's own certificate, made at its start.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.scratch.join("certificate.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.scratch.join("key.pem")
    }

    /// Makes the certificate, where a row has need of it.
    pub(crate) fn make_certificate(&self) -> io::Result<()> {
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        openssl.args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]);
        openssl.arg("-keyout").arg(self.key()).arg("-out").arg(self.certificate());
        crate::peers::run(&mut openssl).map(|_output| ())
    }
}

impl Contender {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(|| format!("{self:?}"), |value| value.get_name().to_owned())
    }

    /// False where the peer refuses this Python, or is not installed.
    pub(crate) fn exists(self, places: &Places) -> bool {
        match self {
            Contender::GranianStRust => places.python_minor < 12,
            Contender::Nginx | Contender::NginxTls => nginx().is_some(),
            Contender::Supervise
            | Contender::SupervisePlain
            | Contender::GranianSt
            | Contender::GranianMt
            | Contender::Uwsgi
            | Contender::Uvicorn
            | Contender::GunicornAsgi
            | Contender::GunicornUvicorn
            | Contender::Hypercorn
            | Contender::BareHyper => true,
        }
    }

    /// What this contender makes of a client's wish to keep a connection.
    pub(crate) fn persistence(self) -> Persistence {
        match self {
            Contender::Uwsgi => Persistence::ClosedEachTime,
            Contender::Supervise
            | Contender::SupervisePlain
            | Contender::GranianSt
            | Contender::GranianMt
            | Contender::GranianStRust
            | Contender::Uvicorn
            | Contender::GunicornAsgi
            | Contender::GunicornUvicorn
            | Contender::Hypercorn
            | Contender::Nginx
            | Contender::NginxTls
            | Contender::BareHyper => Persistence::Kept,
        }
    }

    /// What this contender speaks in a row of this protocol.
    pub(crate) fn transport(self, protocol: Protocol) -> Transport {
        match (protocol, self) {
            (Protocol::Http1OverTls, Contender::Nginx | Contender::SupervisePlain)
            | (Protocol::Http1 | Protocol::Http2 | Protocol::WebSocket, _) => Transport::Plain,
            (Protocol::Http1OverTls, _) => Transport::Tls,
        }
    }

    pub(crate) fn command(self, places: &Places, served: &Served<'_>) -> io::Result<Command> {
        let venv = |program: &str| Command::new(places.venv.join("bin").join(program));
        let bind = format!("127.0.0.1:{}", served.port);
        let mut command = match self {
            Contender::Supervise | Contender::SupervisePlain => {
                supervise(places, served, self.transport(served.protocol))
            }
            Contender::GranianSt => granian(venv("granian"), served, &["--runtime-mode", "st"]),
            Contender::GranianMt => granian(venv("granian"), served, &["--runtime-mode", "mt"]),
            Contender::GranianStRust => {
                granian(venv("granian"), served, &["--runtime-mode", "st", "--task-impl", "rust"])
            }
            Contender::Uwsgi => {
                let mut uwsgi = venv("uwsgi");
                uwsgi.args(["--http-socket", &bind, "--master", "--die-on-term", "--disable-logging"]);
                // It closes each connection and does not say so by itself.
                uwsgi.args(["--add-header", "Connection: close", "--listen", "1024"]);
                uwsgi
            }
            Contender::Uvicorn => {
                let mut uvicorn = venv("uvicorn");
                uvicorn.args(["--host", "127.0.0.1", "--port", &served.port.to_string()]);
                uvicorn.args(["--loop", "uvloop", "--http", "httptools"]);
                uvicorn.args(["--no-access-log", "--log-level", "warning"]);
                uvicorn
            }
            Contender::GunicornAsgi => {
                gunicorn(venv("gunicorn"), &bind, &["-k", "asgi", "--asgi-loop", "uvloop"])
            }
            Contender::GunicornUvicorn => {
                gunicorn(venv("gunicorn"), &bind, &["-k", "uvicorn_worker.UvicornWorker"])
            }
            Contender::Hypercorn => {
                let mut hypercorn = venv("hypercorn");
                hypercorn.args(["-k", "uvloop", "-b", &bind, "--log-level", "warning"]);
                hypercorn
            }
            Contender::Nginx | Contender::NginxTls => {
                nginx_command(places, served, self.transport(served.protocol))?
            }
            Contender::BareHyper => bare_hyper(places, served)?,
        };
        self.name_application(&mut command, served);
        command.current_dir(&places.apps).env_remove("WEB_CONCURRENCY").env_remove("PORT");
        // Set by cargo for what it runs; no user's server has it.
        command.env_remove("LD_LIBRARY_PATH");
        // Console scripts do not have the current directory on their path; supervise needs no such help.
        command.env("PYTHONPATH", &places.apps);
        Ok(command)
    }

    /// Adds the workers and the application, in this server's way.
    fn name_application(self, command: &mut Command, served: &Served<'_>) {
        let target = match served.application {
            Application::BuiltIn => None,
            Application::Python(target) | Application::Wsgi { target, .. } => Some(target),
        };
        match self {
            Contender::Nginx | Contender::NginxTls | Contender::BareHyper => return,
            Contender::Uwsgi => command.args(target.map(|_target| "--module")),
            Contender::Supervise
            | Contender::SupervisePlain
            | Contender::GranianSt
            | Contender::GranianMt
            | Contender::GranianStRust
            | Contender::Uvicorn
            | Contender::GunicornAsgi
            | Contender::GunicornUvicorn
            | Contender::Hypercorn => command,
        };
        command.args(target).args(["--workers", &served.workers.to_string()]);
    }
}

fn supervise(places: &Places, served: &Served<'_>, transport: Transport) -> Command {
    let mut supervise = Command::new(places.binaries.join("supervise"));
    supervise.args(["--bind", &format!("127.0.0.1:{}", served.port)]);
    let metrics = match served.status_server {
        StatusServer::Off => "off",
        StatusServer::On => "127.0.0.1:0",
    };
    supervise.args(["--metrics", metrics]);
    match served.application {
        Application::BuiltIn => {}
        Application::Python(_) => {
            supervise.arg("--python").arg(places.venv.join("bin/python"));
        }
        Application::Wsgi { worker_class, .. } => {
            supervise.arg("--python").arg(places.venv.join("bin/python"));
            supervise.args(["--worker-class", worker_class, "--threads", "1"]);
        }
    }
    if transport == Transport::Tls {
        supervise.arg("--certfile").arg(places.certificate()).arg("--keyfile").arg(places.key());
    }
    supervise
}

fn granian(mut granian: Command, served: &Served<'_>, setting: &[&str]) -> Command {
    granian.args(["--host", "127.0.0.1", "--port", &served.port.to_string(), "--log-level", "warning"]);
    match served.application {
        Application::Wsgi { .. } => granian.args(["--interface", "wsgi", "--blocking-threads", "1"]),
        Application::Python(_) | Application::BuiltIn => {
            granian.args(["--interface", "asgi", "--loop", "uvloop"])
        }
    };
    granian.args(match served.protocol {
        Protocol::Http1 | Protocol::Http1OverTls => ["--http", "1", "--no-ws"],
        Protocol::Http2 => ["--http", "2", "--no-ws"],
        Protocol::WebSocket => ["--http", "1", "--ws"],
    });
    granian.args(setting);
    granian
}

fn gunicorn(mut gunicorn: Command, bind: &str, class: &[&str]) -> Command {
    gunicorn.args(["-b", bind, "--log-level", "warning"]).args(class);
    gunicorn
}

fn bare_hyper(places: &Places, served: &Served<'_>) -> io::Result<Command> {
    let body = places.scratch.join("bare_hyper_body");
    fs::write(&body, served.fixed_body)?;
    let mut command = Command::new(places.binaries.join("bare_hyper"));
    command.arg(served.port.to_string()).arg(body);
    Ok(command)
}

/// nginx with one `return 200`, all its files in the scratch directory.
fn nginx_command(places: &Places, served: &Served<'_>, transport: Transport) -> io::Result<Command> {
    let program =
        nginx().ok_or_else(|| io::Error::other("nginx is not installed: apt-get install nginx-light"))?;
    let directory = places.scratch.join("nginx");
    fs::create_dir_all(&directory)?;
    let body = String::from_utf8_lossy(served.fixed_body);
    let (tls, files) = match transport {
        Transport::Plain => ("", String::new()),
        Transport::Tls => (
            " ssl",
            format!(
                "ssl_certificate {}; ssl_certificate_key {};",
                places.certificate().display(),
                places.key().display()
            ),
        ),
    };
    let configuration = format!(
        "daemon off; master_process on; worker_processes {workers}; pid nginx.pid; error_log stderr error;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path body; proxy_temp_path proxy;\n\
         fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n\
         server {{ listen 127.0.0.1:{port} backlog=1024{tls}; {files} default_type text/plain; location / {{ return 200 '{body}'; }} }} }}\n",
        workers = served.workers,
        port = served.port,
    );
    let file = directory.join("nginx.conf");
    fs::write(&file, configuration)?;
    let mut nginx = Command::new(program);
    nginx.arg("-p").arg(&directory).arg("-c").arg(file).args(["-e", "stderr"]);
    Ok(nginx)
}

/// The system's nginx, where there is one.
pub(crate) fn nginx() -> Option<&'static Path> {
    ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"]
        .map(Path::new)
        .into_iter()
        .find(|path| path.exists())
}
