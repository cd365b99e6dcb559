//! `wsgi.file_wrapper` (PEP 3333): an iterable over a file in blocks, or a range of the file that the kernel sends by itself.

#![expect(unsafe_code, reason = "a Python type by hand")]

use std::{
    ffi::c_void,
    fs::File,
    os::fd::{BorrowedFd, RawFd},
    ptr,
};

use pyo3::{
    Bound, PyAny, PyResult, Python,
    exceptions::PyTypeError,
    ffi::{self, PyObject},
    prelude::PyAnyMethods,
};

use super::known::texts;
use crate::{
    native_type::{NativeType, method_table, method_without_arguments, slot},
    object::{Owned, at_edge, bytes_of, keeping_exception},
};

static FILE_WRAPPER: NativeType<FileWrapper> = NativeType::new();

/// As in the example of PEP 3333.
const USUAL_BLOCK_BYTES: ffi::Py_ssize_t = 8192;
/// An application that asks for smaller blocks than this gets no fewer bytes at a time: the file is read for sending alone.
const LEAST_BLOCK_BYTES: ffi::Py_ssize_t = 64 * 1024;

/// Makes the type. False with an exception when Python refused.
pub(super) fn make_type() -> bool {
    let methods = vec![method_without_arguments(c"close", close)];
    let slots = vec![
        slot(ffi::Py_tp_dealloc, deallocate as *const c_void),
        slot(ffi::Py_tp_new, new as *const c_void),
        slot(ffi::Py_tp_iter, ffi::PyObject_SelfIter as *const c_void),
        slot(ffi::Py_tp_iternext, next_block as *const c_void),
        slot(ffi::Py_tp_methods, method_table(methods)),
        slot(0, ptr::null()),
    ];
    // SAFETY: the interpreter is held; the slots fit an iterator and end with a zero slot.
    unsafe { FILE_WRAPPER.make(c"worker_python.FileWrapper", 0, slots) }
}

/// The type itself, which is what applications call.
pub(super) fn type_object() -> Option<Owned> {
    FILE_WRAPPER.type_object()
}

/// A range of a regular file that the kernel can send in the place of an iteration.
pub(super) struct Range {
    pub(super) file: File,
    pub(super) offset: u64,
    pub(super) count: u64,
}

/// What a wrapper would read, if it is one and its file is a plain one of the system: others (compressed, encrypted, temporary)
/// may have a descriptor whose content is not what they read. None for anything else; no exception is left set.
///
/// # Safety
/// `object` is alive and the interpreter is held.
pub(super) unsafe fn range_of(py: Python<'_>, object: *mut PyObject) -> Option<Range> {
    // SAFETY: the caller's promise; a descriptor that is not open is refused by the kernel when it is duplicated.
    unsafe {
        if FILE_WRAPPER.type_object()?.as_ptr() != ffi::Py_TYPE(object).cast() {
            return None;
        }
        let wrapper: &FileWrapper = NativeType::content(object);
        range(&wrapper.file.bound(py)).ok().flatten()
    }
}

fn range(file: &Bound<'_, PyAny>) -> PyResult<Option<Range>> {
    let io = file.py().import("io")?;
    let kind = file.get_type();
    for plain in ["BufferedReader", "BufferedRandom", "FileIO"] {
        if !kind.is(&io.getattr(plain)?) {
            continue;
        }
        // A buffered file may stand on something else than a file of the system.
        if plain != "FileIO" && !file.getattr("raw")?.get_type().is(&io.getattr("FileIO")?) {
            return Ok(None);
        }
        let descriptor: RawFd = file.call_method0("fileno")?.extract()?;
        let offset: u64 = file.call_method0("tell")?.extract()?;
        // SAFETY: the file is open as long as it gives its descriptor, and it is duplicated at once.
        let own = File::from(unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()?);
        let metadata = own.metadata()?;
        let count = metadata.len().saturating_sub(offset);
        return Ok(metadata.is_file().then_some(Range { file: own, offset, count }));
    }
    Ok(None)
}

/// The content of the object.
struct FileWrapper {
    file: Owned,
    block_bytes: ffi::Py_ssize_t,
}

unsafe extern "C" fn new(
    _type: *mut ffi::PyTypeObject,
    arguments: *mut PyObject,
    keywords: *mut PyObject,
) -> *mut PyObject {
    at_edge(|| {
        // SAFETY: Python passes a tuple and perhaps a dict, and holds the interpreter; the file is kept by a reference of its own.
        unsafe {
            let mut file = ptr::null_mut();
            let mut block_bytes = USUAL_BLOCK_BYTES;
            let mut names =
                [c"filelike".as_ptr().cast_mut(), c"block_size".as_ptr().cast_mut(), ptr::null_mut()];
            let parsed = ffi::PyArg_ParseTupleAndKeywords(
                arguments,
                keywords,
                c"O|n:FileWrapper".as_ptr(),
                names.as_mut_ptr().cast(),
                &raw mut file,
                &raw mut block_bytes,
            );
            if parsed == 0 {
                return ptr::null_mut();
            }
            let content =
                FileWrapper { file: Owned::borrow(file), block_bytes: block_bytes.max(LEAST_BLOCK_BYTES) };
            FILE_WRAPPER.object(None, content)
        }
    })
}

unsafe extern "C" fn next_block(this: *mut PyObject) -> *mut PyObject {
    at_edge(|| {
        // SAFETY: Python passes a living object of this type and holds the interpreter.
        unsafe {
            let wrapper: &FileWrapper = NativeType::content(this);
            let size = Owned::steal(ffi::PyLong_FromSsize_t(wrapper.block_bytes));
            let Some(size) = size else { return ptr::null_mut() };
            let block = Owned::steal(ffi::PyObject_CallMethodObjArgs(
                wrapper.file.as_ptr(),
                texts().read.as_ptr(),
                size.as_ptr(),
                ptr::null_mut::<PyObject>(),
            ));
            let Some(block) = block else { return ptr::null_mut() };
            match bytes_of(block.as_ptr()) {
                // The end of an iteration is a null pointer without an exception.
                Some([]) => ptr::null_mut(),
                Some(_bytes) => block.into_ptr(),
                None => {
                    let error =
                        PyTypeError::new_err("the file of a file_wrapper must be open in binary mode");
                    error.restore(Python::assume_attached());
                    ptr::null_mut()
                }
            }
        }
    })
}

/// Closes the file, if it can be closed.
unsafe extern "C" fn close(this: *mut PyObject, _none: *mut PyObject) -> *mut PyObject {
    at_edge(|| {
        // SAFETY: Python passes a living object of this type and holds the interpreter.
        unsafe {
            let wrapper: &FileWrapper = NativeType::content(this);
            if ffi::PyObject_HasAttr(wrapper.file.as_ptr(), texts().close.as_ptr()) == 0 {
                return crate::coroutine::none().into_ptr();
            }
            ffi::PyObject_CallMethodObjArgs(
                wrapper.file.as_ptr(),
                texts().close.as_ptr(),
                ptr::null_mut::<PyObject>(),
            )
        }
    })
}

unsafe extern "C" fn deallocate(this: *mut PyObject) {
    // SAFETY: Python calls this once, when the last reference is gone.
    unsafe {
        keeping_exception(|| FILE_WRAPPER.free(this));
    }
}
