//! The `worker` program: calls the library.

fn main() {}
