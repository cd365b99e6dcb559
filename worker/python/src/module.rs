//! The extension module itself: its name, which carries the version of Python, and its one function.

#![expect(unsafe_code, reason = "the entry point that the interpreter calls")]

use std::ptr;

use pyo3::{
    Python,
    ffi::{self, PyObject},
};

use crate::{interpreter, native_type::method_without_arguments, object::at_edge};

macro_rules! entry_point {
    ($function:ident, $name:literal) => {
        /// Called by `import`.
        #[unsafe(no_mangle)]
        pub(crate) extern "C" fn $function() -> *mut PyObject {
            make($name)
        }
    };
}

#[cfg(not(Py_3_10))]
entry_point!(PyInit_worker_python_cp39, c"worker_python_cp39");
#[cfg(all(Py_3_10, not(Py_3_11)))]
entry_point!(PyInit_worker_python_cp310, c"worker_python_cp310");
#[cfg(all(Py_3_11, not(Py_3_12)))]
entry_point!(PyInit_worker_python_cp311, c"worker_python_cp311");
#[cfg(all(Py_3_12, not(Py_3_13)))]
entry_point!(PyInit_worker_python_cp312, c"worker_python_cp312");
#[cfg(all(Py_3_13, not(Py_3_14)))]
entry_point!(PyInit_worker_python_cp313, c"worker_python_cp313");
#[cfg(all(Py_3_14, not(Py_3_15)))]
entry_point!(PyInit_worker_python_cp314, c"worker_python_cp314");
#[cfg(Py_3_15)]
entry_point!(PyInit_worker_python_cp315, c"worker_python_cp315");

/// A module of single-phase initialisation: it cannot be loaded twice in one process, and a free-threaded interpreter turns its
/// lock on for it.
fn make(name: &'static std::ffi::CStr) -> *mut PyObject {
    let methods = Vec::leak(vec![
        method_without_arguments(c"main", main),
        #[cfg(feature = "wall-tests")]
        crate::native_type::method_with_argument(c"wall_tests", crate::wall_tests::run),
        ffi::PyMethodDef::zeroed(),
    ]);
    let definition = Box::leak(Box::new(ffi::PyModuleDef {
        m_base: ffi::PyModuleDef_HEAD_INIT,
        m_name: name.as_ptr(),
        m_doc: c"The worker of supervise, as a guest of the event loop.".as_ptr(),
        m_size: -1,
        m_methods: methods.as_mut_ptr(),
        m_slots: ptr::null_mut(),
        m_traverse: None,
        m_clear: None,
        m_free: None,
    }));
    // SAFETY: the definition and its methods live for ever; `import` holds the interpreter.
    unsafe { ffi::PyModule_Create(definition) }
}

/// Serves until told to leave; returns the exit code.
unsafe extern "C" fn main(_module: *mut PyObject, _none: *mut PyObject) -> *mut PyObject {
    at_edge(|| {
        let code = Python::attach(interpreter::main);
        // SAFETY: the interpreter is held.
        unsafe { ffi::PyLong_FromLong(code.into()) }
    })
}
