//! The worker: composition root and library of native applications.
