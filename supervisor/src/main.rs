//! The `supervise` program: calls the library.

fn main() {}
