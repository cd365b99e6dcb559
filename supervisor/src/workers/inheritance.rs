//! What a worker is born with: the descriptors that it gets, and the environment that names them.

use std::{
    ffi::OsString,
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use protocol::inherited;
use supervisor_fleet::{GenerationId, Slot};

use crate::{generation::Generation, scoreboard::Lease};

/// The descriptors that a worker gets.
pub(super) struct Inheritance<'a> {
    pub(super) control_in: BorrowedFd<'a>,
    pub(super) control_out: BorrowedFd<'a>,
    pub(super) scoreboard: BorrowedFd<'a>,
    pub(super) evidence: BorrowedFd<'a>,
    pub(super) credentials: Option<BorrowedFd<'a>>,
    pub(super) listeners: Vec<BorrowedFd<'a>>,
}

impl<'a> Inheritance<'a> {
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'a>> {
        let mut all = vec![self.control_in, self.control_out, self.scoreboard, self.evidence];
        all.extend(self.credentials);
        all.extend(&self.listeners);
        all
    }

    pub(super) fn environment(
        &self,
        lease: Lease,
        slot: Slot,
        generation: GenerationId,
        plan: &Generation,
    ) -> io::Result<Vec<(OsString, OsString)>> {
        let number = |fd: BorrowedFd<'_>| fd.as_raw_fd().to_string();
        let listeners: Vec<String> = self.listeners.iter().map(|fd| number(*fd)).collect();
        let entries = [
            (inherited::CONTROL_IN, number(self.control_in)),
            (inherited::CONTROL_OUT, number(self.control_out)),
            (inherited::LISTENERS, listeners.join(",")),
            (inherited::SCOREBOARD, number(self.scoreboard)),
            (inherited::SCOREBOARD_RECORD, lease.index().to_string()),
            (inherited::EVIDENCE, number(self.evidence)),
            (inherited::SLOT, slot.0.to_string()),
            (inherited::GENERATION, generation.0.to_string()),
            (inherited::SETTINGS, serde_json::to_string(&plan.settings.worker)?),
        ];
        let credentials = self.credentials.map(|fd| (inherited::CREDENTIALS, number(fd)));
        let entries = entries.into_iter().chain(credentials);
        let own = plan
            .settings
            .environment
            .iter()
            .map(|entry| (entry.name.clone().into(), entry.value.clone().into()));
        Ok(own.chain(entries.map(|(name, value)| (name.into(), value.into()))).collect())
    }
}
