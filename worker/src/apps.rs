//! Applications that need no foreign runtime.

mod cgi;
mod redirect_https;
mod welcome;

#[cfg(fuzzing)]
pub use cgi::fuzz_response_head;
pub use cgi::{Cgi, GUARD_ARGUMENT, run_guard};
pub use redirect_https::RedirectToHttps;
pub use welcome::{Welcome, welcome};
