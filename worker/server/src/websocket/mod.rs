//! WebSocket (RFC 6455) with permessage-deflate (RFC 7692): the pure codec, the handshake, and the session that an app holds.
//! The connection's side of a session, its I/O and its time, is `connection::websocket`.

pub(crate) mod close;
pub(crate) mod deflate;
pub(crate) mod deflate_offer;
pub(crate) mod frame;
pub(crate) mod handshake;
pub(crate) mod receiver;
pub(crate) mod session;
mod socket;
mod text;

pub use close::Close;
pub use receiver::MessageKind;
pub use session::{Received, SendError};
pub use socket::{AcceptError, WebSocket};
