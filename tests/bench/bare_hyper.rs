//! The yardstick of the native worker: hyper's HTTP/1 server on one current-thread runtime, with nothing around it.
//! Answers every request with the bytes it was given. Knows nothing of the product.
//!
//! `bare_hyper PORT BODY_FILE`

use std::{convert::Infallible, error::Error, net::Ipv4Addr, process::ExitCode};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::LocalSet};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, body_file] = arguments.as_slice() else {
        eprintln!("usage: bare_hyper PORT BODY_FILE");
        return ExitCode::from(2);
    };
    match run(port, body_file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bare_hyper: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(port: &str, body_file: &str) -> Result<(), Box<dyn Error>> {
    let port: u16 = port.parse()?;
    let body = Bytes::from(std::fs::read(body_file)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(LocalSet::new().run_until(serve(port, body)))
}

async fn serve(port: u16, body: Bytes) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let body = body.clone();
        let service = service_fn(move |_: Request<Incoming>| {
            let mut response = Response::new(Full::new(body.clone()));
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            async move { Ok::<_, Infallible>(response) }
        });
        tokio::task::spawn_local(async move {
            // A connection that the client broke off is the load client's to count, not ours.
            let _: hyper::Result<()> =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
