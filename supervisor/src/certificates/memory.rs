//! The shared memory in which workers find their credentials ([`protocol::credentials`]). Written here, read there.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::FileExt,
    },
};

use nix::sys::memfd::{MFdFlags, memfd_create};
use protocol::credentials::{Credentials, HEADER_BYTES, header};

/// The memory of one generation.
#[derive(Debug)]
pub(super) struct CredentialMemory {
    memory: File,
    /// A second description of it, which can only read: what workers inherit.
    for_workers: File,
    end: usize,
}

impl CredentialMemory {
    /// New memory with these credentials in it.
    ///
    /// # Errors
    /// No descriptors or no memory left.
    pub(super) fn new(credentials: &Credentials) -> io::Result<Self> {
        let memory = File::from(memfd_create(c"supervise-credentials", MFdFlags::MFD_CLOEXEC)?);
        let for_workers = File::open(format!("/proc/self/fd/{}", memory.as_raw_fd()))?;
        let mut made = Self { memory, for_workers, end: HEADER_BYTES };
        made.replace(credentials)?;
        Ok(made)
    }

    /// Other credentials from now on. Whoever reads meanwhile gets the old ones or the new ones, both whole: the new ones are
    /// appended before the header names them.
    ///
    /// # Errors
    /// No memory left; the old ones then stay.
    pub(super) fn replace(&mut self, credentials: &Credentials) -> io::Result<()> {
        let text = serde_json::to_vec(credentials)?;
        let place = self.end..self.end + text.len();
        self.memory.write_all_at(&text, place.start as u64)?;
        self.memory.write_all_at(&header(&place), 0)?;
        self.end = place.end;
        Ok(())
    }
}

impl AsFd for CredentialMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.for_workers.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io,
        os::{fd::AsFd, unix::fs::FileExt},
    };

    use protocol::credentials::{Credentials, HEADER_BYTES, place};

    use super::CredentialMemory;

    fn credentials(name: &str) -> Credentials {
        Credentials {
            certificates: Vec::new(),
            client_authorities_pem: name.to_owned(),
            ticket_keys: vec![[7; 32]],
        }
    }

    fn read(worker: &File) -> Credentials {
        let mut header = [0; HEADER_BYTES];
        worker.read_exact_at(&mut header, 0).expect("a header");
        let place = place(&header).expect("a place");
        let mut text = vec![0; place.len()];
        worker.read_exact_at(&mut text, place.start as u64).expect("all of it");
        serde_json::from_slice(&text).expect("credentials")
    }

    #[test]
    fn a_worker_reads_what_was_written_last_and_writes_nothing() {
        let mut memory = CredentialMemory::new(&credentials("one")).expect("memory");
        let worker = File::from(memory.as_fd().try_clone_to_owned().expect("a descriptor"));
        assert_eq!(read(&worker), credentials("one"));
        memory.replace(&credentials("another")).expect("memory");
        assert_eq!(read(&worker), credentials("another"));
        let refused = worker.write_all_at(b"x", 0).map_err(|error| error.raw_os_error());
        assert_eq!(refused, Err(Some(nix::errno::Errno::EBADF as i32)), "{:?}", io::Error::last_os_error());
    }
}
