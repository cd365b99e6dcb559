//! A chunked request body in a file without a name: a program must be told the length before it starts (RFC 3875 §4.2), and
//! memory is not for bodies. A slow client holds no place meanwhile.

use std::{
    fs::{File, OpenOptions},
    io::{self, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
};

use bytes::Bytes;
use nix::fcntl::OFlag;
use tokio::task::spawn_blocking;
use worker_server::Exchange;

use super::intake::{Received, receive};

/// Largest body without a length when `--limit-request-body` sets no bound: a disk is no place without one either.
const MAX_UNBOUNDED_BYTES: u64 = 1 << 30;

/// What became of the body.
#[derive(Debug)]
pub(super) enum Spooled {
    /// All of it, from the beginning, and its length.
    Whole(File, u64),
    /// It is larger than it may be.
    TooLarge,
    /// The client left in the middle.
    ClientLeft,
}

/// Reads the whole body; `limit_bytes` 0 is none of the operator's.
///
/// # Errors
/// What the file system says.
pub(super) async fn spool(exchange: &Exchange<Bytes>, limit_bytes: u64) -> io::Result<Spooled> {
    let limit = if limit_bytes == 0 { MAX_UNBOUNDED_BYTES } else { limit_bytes };
    let mut file = blocking(unnamed).await?;
    let mut length = 0;
    loop {
        let Received::Piece { bytes, more } = receive(exchange).await else { return Ok(Spooled::ClientLeft) };
        length += bytes.len() as u64;
        if length > limit {
            return Ok(Spooled::TooLarge);
        }
        file = blocking(move || file.write_all(&bytes).map(|()| file)).await?;
        if !more {
            file.rewind()?;
            return Ok(Spooled::Whole(file, length));
        }
    }
}

/// In TMPDIR, never visible there (O_TMPFILE).
fn unnamed() -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(OFlag::O_TMPFILE.bits());
    options.open(std::env::temp_dir())
}

/// A disk may be slow, and the worker has one thread for all.
async fn blocking(work: impl FnOnce() -> io::Result<File> + Send + 'static) -> io::Result<File> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}
