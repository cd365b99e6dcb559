//! The Python worker: an extension module that the user's interpreter loads. `main()` serves the application until it is told
//! to leave, as a guest of the user's event loop.
//!
//! Built for one version of Python, which its name carries: another interpreter gets an ImportError instead of a crash.

mod accept;
mod access_logger;
mod asgi;
mod coroutine;
mod departure;
mod environment;
mod evidence;
mod failure;
mod host_loop;
mod immortal;
mod import;
mod interface;
mod interpreter;
mod module;
mod native_type;
mod object;
mod percent;
mod reactor;
mod service_thread;
mod serving;
mod signals;
mod value_cache;
#[cfg(feature = "wall-tests")]
mod wall_tests;
mod wsgi;

/// Python source that lies beside a Rust file, as the C string that the compiler of Python takes.
macro_rules! python_source {
    ($file:literal) => {
        const {
            match std::ffi::CStr::from_bytes_with_nul(concat!(include_str!($file), "\0").as_bytes()) {
                Ok(source) => source,
                Err(_) => panic!("Python source contains a NUL byte"),
            }
        }
    };
}
use python_source;
