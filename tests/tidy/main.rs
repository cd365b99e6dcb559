//! The shape of the repository: who may import whom, what may stand where, how long a file may be. Reads files, runs nothing but
//! `cargo metadata`.

mod edges;
mod sources;
mod text;
