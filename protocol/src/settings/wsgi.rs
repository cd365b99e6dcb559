//! How a WSGI application is run.

use serde::{Deserialize, Serialize};

use crate::defaults;

/// How a Python worker runs its application, and its bounds for WSGI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WsgiSettings {
    /// The worker class that was asked for.
    pub worker_class: WorkerClass,
    /// Threads of one worker, from 1, where somebody said how many.
    pub threads: Option<u32>,
    /// Workers of the pool that serves the application, for `wsgi.multiprocess`.
    pub workers: u32,
    /// Bytes of a request's body that are read before the application is called; what is beyond it streams.
    pub request_buffer_bytes: u64,
    /// Bytes of a reply that may wait for the client before the application does.
    pub reply_buffer_bytes: u64,
}

/// How a worker runs its application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerClass {
    /// On an event loop; a WSGI application as by `threads`.
    Async,
    /// WSGI on threads.
    Threads,
    /// WSGI, one request at a time.
    Sync,
}

/// Where a WSGI application runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concurrency {
    /// On the main thread, by turns with the network.
    Inline,
    /// On so many threads.
    Threads(u32),
}

impl WsgiSettings {
    /// What class and number of threads come to. As in gunicorn, `sync` with more than one thread is `threads`.
    #[must_use]
    pub fn concurrency(&self) -> Concurrency {
        match (self.worker_class, self.threads) {
            (WorkerClass::Sync, None | Some(0 | 1)) => Concurrency::Inline,
            (WorkerClass::Async | WorkerClass::Threads, None) => Concurrency::Threads(defaults::WSGI_THREADS),
            (WorkerClass::Async | WorkerClass::Threads | WorkerClass::Sync, Some(threads)) => {
                Concurrency::Threads(threads.max(1))
            }
        }
    }
}
