//! The shell around the law of supervision.
