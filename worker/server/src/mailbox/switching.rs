//! The reply that ends HTTP on its connection: 101, after which a WebSocket goes on (RFC 9110 §15.2.2, RFC 6455 §4.2.2).

use super::{Mailbox, Reply, ReplyPhase, replying::Lent};
use crate::{
    ReplyError,
    http1::reply::{self, ReplyFacts, StatusBody},
};

/// The status of a request that became a WebSocket.
pub(crate) const SWITCHING_PROTOCOLS: u16 = 101;
/// What makes the status one for a WebSocket.
const UPGRADE: &[u8] = b"upgrade: websocket\r\nconnection: Upgrade\r\n";

impl<C> Mailbox<C> {
    pub(crate) fn switch_to_websocket<'h>(
        &self,
        epoch: u32,
        fields: impl Iterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Result<(), ReplyError> {
        if !self.is_live(epoch) {
            return Err(ReplyError::Disconnected);
        }
        if self.reply.get().phase != ReplyPhase::Awaited {
            return Err(ReplyError::OutOfOrder);
        }
        self.set_phase(ReplyPhase::Heading);
        let mut facts = ReplyFacts::default();
        let mut result = Ok(());
        {
            let mut lent = Lent::new(self);
            self.service.prepare(&mut lent.bytes);
            reply::write_status_line(&mut lent.bytes, SWITCHING_PROTOCOLS);
            lent.bytes.extend_from_slice(UPGRADE);
            for (name, value) in fields.filter(|(name, _)| !name.eq_ignore_ascii_case(b"upgrade")) {
                result = reply::write_field(&mut lent.bytes, &mut facts, StatusBody::Forbidden, name, value);
                if result.is_err() {
                    break;
                }
            }
        }
        // The app's iterator may have ended the exchange meanwhile.
        if !self.is_live(epoch) || self.reply.get().phase != ReplyPhase::Heading {
            self.output.borrow_mut().discard_held();
            return Err(ReplyError::Disconnected);
        }
        let mut output = self.output.borrow_mut();
        if result.is_err() {
            output.discard_held();
            self.set_phase(ReplyPhase::Awaited);
            return Err(ReplyError::InvalidHeader);
        }
        self.service.stamp(output.bytes(), &facts);
        output.bytes().extend_from_slice(b"\r\n");
        output.seal();
        drop(output);
        self.reply.set(Reply { status: SWITCHING_PROTOCOLS, ..Reply::new(ReplyPhase::Switched) });
        self.wake_receiver();
        self.notify();
        Ok(())
    }
}
