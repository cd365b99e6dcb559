//! The worker: composition root, and the library that a native application links.
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     worker::serve(worker::welcome()) // an `axum::Router`, or any other tower service
//! }
//! ```

pub mod accept_pause;
pub mod accepted;
pub mod access_log;
pub mod access_log_writer;
pub mod apps;
pub mod cli;
pub mod error;
pub mod fair_accept;
pub mod farewell;
pub mod inherited_sockets;
pub mod limits;
pub mod listen;
pub mod logging;
pub mod meter;
pub mod native_launch;
pub mod policy;
pub mod program;
pub mod python_launch;
pub mod scoreboard_mapping;
mod serve;
pub mod settings;
pub mod supervision;
pub mod tls;
mod tokio_driver;

pub use apps::welcome;
pub use serve::{Body, BodyError, ConnectionInfo, FromHyper, from_hyper, serve, serve_with};
