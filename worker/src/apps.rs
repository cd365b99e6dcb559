//! Applications that need no foreign runtime.

mod welcome;

pub use welcome::{Welcome, welcome};
