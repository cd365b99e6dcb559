//! ASGI over the engine: each request becomes a scope, a channel and a task of the event loop.

mod app;
#[cfg(not(Py_3_12))]
mod capture;
mod channel;
mod extensions;
mod fields;
mod items;
mod known;
#[cfg(lazy_tasks)]
mod lazy_task;
#[cfg(lazy_tasks)]
mod lazy_type;
mod lifespan;
mod message;
mod run;
mod scope;
mod spare_copy;
mod start;
mod tls;
mod wait;
mod websocket;
mod websocket_message;

pub(crate) use app::Shared;
pub(crate) use lifespan::{Lifespan, StartUp};
