//! What a WSGI worker serves with. Made on the main thread, used on the reactor's.

use std::rc::Rc;

use protocol::settings::HttpSettings;
use worker::{
    inherited_sockets::Listener,
    meter::WorkerMeter,
    scoreboard_mapping::{EvidenceTable, Scoreboard},
    supervision::{LoopPulse, Reporter},
    tls::ListenerSecurity,
};
use worker_server::{AccessLog, Policy};

use super::desk::{Desk, Outlet};
use crate::{departure::Orders, reactor::Reactor, serving::Site};

/// See the module.
pub(crate) struct Ground {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) security: ListenerSecurity,
    pub(crate) scoreboard: Scoreboard,
    pub(crate) evidence: EvidenceTable,
    pub(crate) http: HttpSettings,
    pub(crate) access_log: Option<AccessLog>,
    pub(crate) policy: Policy,
    pub(crate) reporter: Reporter,
    pub(crate) orders: Orders,
    /// None in a worker that runs alone.
    pub(crate) pulse: Option<LoopPulse>,
    /// Body bytes that a request may bring before the application sees it.
    pub(crate) request_buffer_bytes: usize,
}

impl Ground {
    /// The desk, and the site that serves by it.
    pub(super) fn site(
        self,
        reactor: &'static Reactor,
        outlet: Box<dyn Outlet>,
    ) -> (Rc<Desk>, Site<Rc<Desk>>) {
        // Counts for one thread, so it is made there.
        let meter = WorkerMeter::new(self.scoreboard, self.evidence);
        let desk = Desk::new(reactor, outlet, meter.clone(), self.request_buffer_bytes);
        let site = Site {
            reactor,
            listeners: self.listeners,
            security: self.security,
            scoreboard: self.scoreboard,
            meter,
            http: self.http,
            websocket: None,
            access_log: self.access_log,
            policy: self.policy,
            application: Rc::clone(&desk),
            reporter: self.reporter,
            orders: self.orders,
        };
        (desk, site)
    }
}
