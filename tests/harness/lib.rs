//! The harness of the end-to-end tests: builds, starts, loads, watches and stops the real binaries. Knows the products only
//! from outside: their command line, their sockets, their processes and what they print.

mod binaries;
mod builder;
mod certificates;
mod control_group;
mod directory;
mod guests;
pub mod http;
pub mod load;
mod machine;
mod metrics;
mod nginx;
mod output;
mod patience;
pub mod processes;
mod pythons;
mod server;
mod tools;

pub use binaries::{Binaries, copy_of_binaries, product_directory, repository};
pub use builder::{Program, Reading, ServerBuilder};
pub use certificates::{Authority, Issued, Seen, TlsClient, Validity};
pub use control_group::ControlGroup;
pub use directory::TestDirectory;
pub use guests::{Guest, write_atomically};
pub use machine::Machine;
pub use metrics::{Metrics, Sample};
pub use nginx::{Nginx, open_to_all};
pub use output::Output;
pub use patience::{observe_for, patient, wait_for, wait_until};
pub use pythons::Python;
pub use server::{Reloaded, Server, Worker};
pub use tools::{Tool, require};
