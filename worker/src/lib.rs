//! The worker: composition root, and the library that a native application links.

pub mod error;
pub mod inherited_sockets;
pub mod meter;
pub mod scoreboard_mapping;
pub mod supervision;
