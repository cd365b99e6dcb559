//! The evidence memfd of one worker, seen from the supervisor: made, sealed at its size, and read when the worker hangs, fails
//! or dies. Never written here.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::FileExt,
    },
};

use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};
use protocol::evidence::{self, RequestInFlight};

/// One worker's evidence.
#[derive(Debug)]
pub struct Evidence {
    memory: File,
    /// Bytes of the text that were told already.
    told: usize,
}

impl Evidence {
    /// Empty.
    ///
    /// # Errors
    /// No descriptors or no memory left.
    pub fn new() -> io::Result<Self> {
        let memory = sealed_memory(c"supervise-evidence", evidence::SIZE_BYTES)?;
        Ok(Self { memory, told: 0 })
    }

    /// Requests that the worker has begun and not finished, oldest first.
    #[must_use]
    pub fn requests_in_flight(&self) -> Vec<RequestInFlight> {
        evidence::requests_in_flight(&self.read())
    }

    /// Bytes of text there are now that were not told.
    #[must_use]
    pub fn untold_bytes(&self) -> usize {
        evidence::text(&self.read()).len().saturating_sub(self.told)
    }

    /// The text that came since the last call.
    pub fn news(&mut self) -> String {
        let text = evidence::text(&self.read());
        // Lossy decoding may change lengths while a character is written: then all of it is told again.
        let fresh = text.get(self.told..).unwrap_or(&text).trim_end().to_owned();
        self.told = text.len();
        fresh
    }

    fn read(&self) -> Vec<u8> {
        let mut bytes = vec![0; evidence::SIZE_BYTES];
        match self.memory.read_exact_at(&mut bytes, 0) {
            Ok(()) => bytes,
            // A memfd of fixed size is always read whole.
            Err(_) => Vec::new(),
        }
    }
}

impl AsFd for Evidence {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

/// Shared memory of a size that nobody can change any more, so that a mapping of it can never fault.
///
/// # Errors
/// No descriptors or no memory left.
pub(crate) fn sealed_memory(name: &std::ffi::CStr, size_bytes: usize) -> io::Result<File> {
    let memory = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
    memory.set_len(size_bytes as u64)?;
    let seals = SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    fcntl(&memory, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use protocol::evidence::{SIZE_BYTES, TEXT_OFFSET};

    use super::Evidence;

    #[test]
    fn text_is_told_once_and_the_size_is_fixed() {
        let mut evidence = Evidence::new().expect("memory");
        evidence.memory.write_all_at(b"first\n", TEXT_OFFSET as u64).expect("room");
        assert_eq!(evidence.untold_bytes(), 6);
        assert_eq!(evidence.news(), "first");
        evidence.memory.write_all_at(b"second\n", TEXT_OFFSET as u64 + 6).expect("room");
        assert_eq!(evidence.news(), "second");
        assert_eq!(evidence.untold_bytes(), 0);
        assert!(evidence.memory.set_len(1).is_err());
        assert!(evidence.memory.write_all_at(b"x", SIZE_BYTES as u64).is_err());
    }
}
