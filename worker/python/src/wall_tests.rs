//! For tests alone: serves HTTP/2 by hyper and our HTTP/1.1 engine behind rustls on the reactor, so that a test can prove that
//! both fit through its walls on any loop. Never built into the product.

mod tls;

use std::{convert::Infallible, net::TcpListener, os::fd::OwnedFd, rc::Rc, sync::Arc, time::Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use pyo3::{Bound, PyAny, PyResult, Python, ffi::PyObject};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use worker_server::{
    App, Clock, Connection, ConnectionInfo, Drain, Exchange, Last, Limits, Meter, Peer, RequestHead, Scheme,
    Service,
};

use crate::{
    host_loop,
    object::{Owned, at_edge},
    reactor::{Handle, Reactor, Socket, Watched},
};

#[expect(unsafe_code, reason = "a function that Python calls")]
/// `wall_tests(loop)`: serves from now on; returns the ports `(h2c, tls)`.
pub(crate) unsafe extern "C" fn run(_module: *mut PyObject, event_loop: *mut PyObject) -> *mut PyObject {
    at_edge(|| {
        Python::attach(|py| {
            // SAFETY: Python passes a living object.
            let event_loop = unsafe { Owned::borrow(event_loop) };
            match start(&event_loop.bound(py)) {
                Ok(ports) => Owned::from(ports).into_ptr(),
                Err(error) => {
                    error.restore(py);
                    std::ptr::null_mut()
                }
            }
        })
    })
}

fn start<'py>(event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let reactor = Reactor::start()?;
    host_loop::attach(reactor, event_loop)?;
    let h2c = listen(reactor, |socket| {
        let serving = hyper::server::conn::http2::Builder::new(Handle)
            .timer(Handle)
            .serve_connection(socket, service_fn(hello));
        async move {
            // The client's end of the connection tells how it went.
            let _ = serving.await;
        }
    })?;
    let config = server_config();
    let app = Rc::new(Hello);
    let service = service();
    let tls = listen(reactor, move |socket| {
        let (app, service) = (Rc::clone(&app), Rc::clone(&service));
        let stream = tls::TlsStream::new(socket, Arc::clone(&config));
        let peer = Peer::Unix(None);
        let info =
            Rc::new(ConnectionInfo { peer: peer.clone(), local: peer, scheme: Scheme::Https, tls: None });
        async move {
            if let Ok(stream) = stream {
                Connection::new(stream, info, app, service).await;
            }
        }
    })?;
    Ok(pyo3::types::PyTuple::new(event_loop.py(), [h2c, tls])?.into_any())
}

/// Accepts on a new port and runs `serve` for each connection. Gives the port.
fn listen<F: Future<Output = ()> + 'static>(
    reactor: &'static Reactor,
    serve: impl Fn(Socket) -> F + 'static,
) -> std::io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let listener = Watched::new(reactor, listener)?;
    reactor.spawn(async move {
        loop {
            std::future::poll_fn(|context| listener.poll_readable(context)).await;
            while let Ok((stream, _peer)) = listener.get().accept() {
                if stream.set_nonblocking(true).is_ok()
                    && let Ok(socket) = Socket::new(reactor, OwnedFd::from(stream))
                {
                    reactor.spawn(serve(socket));
                }
            }
        }
    });
    Ok(port)
}

async fn hello(_request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(b"hello over h2c"))))
}

struct Hello;

impl App for Hello {
    type Chunk = &'static [u8];

    fn call(&self, _head: &RequestHead<'_>, exchange: Exchange<Self::Chunk>) {
        let headers: [(&[u8], &[u8]); 0] = [];
        let replied = exchange
            .head(200, headers.into_iter())
            .and_then(|()| exchange.body(b"hello over tls", Last::Yes));
        if replied.is_err() {
            exchange.fail();
        }
    }
}

fn server_config() -> Arc<ServerConfig> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3 is there")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("the certificate fits its key");
    Arc::new(config)
}

struct NoMeter;
impl Meter for NoMeter {}

struct ThisClock;
impl Clock for ThisClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn unix_seconds(&self) -> u64 {
        0
    }
}

fn service() -> Rc<Service> {
    let second = std::time::Duration::from_secs(1);
    let limits = Limits {
        keep_alive_timeout: 5 * second,
        header_read_timeout: 5 * second,
        body_read_timeout: 5 * second,
        body_bytes_per_second: None,
        write_timeout: 5 * second,
        request_timeout: None,
        admission: None,
        request_line_bytes: 8192,
        head_bytes: 65536,
        header_count: 100,
        body_bytes: None,
        half_close: worker_server::HalfClose::Leaves,
        websocket: None,
        http2: None,
    };
    Service::new(
        limits,
        worker_server::Policy::trusting_nobody(),
        Rc::new(NoMeter),
        ThisClock,
        Handle,
        Drain::new(),
    )
}
