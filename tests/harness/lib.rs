//! The harness of the end-to-end tests: builds, starts, loads and stops the real binaries.
