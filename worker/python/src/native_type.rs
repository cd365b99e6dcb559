//! Makes Python types from slots, and recycles the memory of their objects: a request makes three.

#![expect(unsafe_code, reason = "objects are laid out and freed by hand")]

use std::{
    cell::UnsafeCell,
    ffi::{CStr, c_int, c_uint, c_ulong, c_void},
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr,
};

use pyo3::ffi;

use crate::object::Owned;

/// Memory kept of objects that died, for each type.
const FREE_OBJECTS: usize = 256;

/// A native type's objects: the head that every object has, the entry for calls without an argument tuple, and the content.
#[repr(C)]
pub(crate) struct Object<T> {
    head: ffi::PyObject,
    vectorcall: Option<ffi::vectorcallfunc>,
    content: ManuallyDrop<T>,
}

/// Offset of the vectorcall entry, for the type's member table.
pub(crate) const fn vectorcall_offset<T>() -> ffi::Py_ssize_t {
    std::mem::offset_of!(Object<T>, vectorcall).cast_signed()
}

/// A type made at run time, and the memory of its dead objects. One static each.
pub(crate) struct NativeType<T> {
    state: UnsafeCell<State>,
    content: PhantomData<fn(T)>,
}

struct State {
    type_object: *mut ffi::PyTypeObject,
    free: Vec<*mut c_void>,
}

// SAFETY: every access is by a thread that holds the interpreter, so there is one at a time.
unsafe impl<T> Sync for NativeType<T> {}

impl<T> NativeType<T> {
    /// An empty place; [`Self::make`] fills it.
    pub(crate) const fn new() -> Self {
        let state = State { type_object: ptr::null_mut(), free: Vec::new() };
        Self { state: UnsafeCell::new(state), content: PhantomData }
    }

    /// Makes the type, unless it is made. False when Python refused; an exception is set then.
    ///
    /// # Safety
    /// The interpreter is held; `slots` fit [`Object<T>`], end with a zero slot and live for ever; the deallocation slot calls
    /// [`Self::free`].
    pub(crate) unsafe fn make(
        &self,
        name: &'static CStr,
        flags: c_ulong,
        slots: Vec<ffi::PyType_Slot>,
    ) -> bool {
        // SAFETY: the interpreter is held.
        if unsafe { !(*self.state.get()).type_object.is_null() } {
            return true;
        }
        let slots = Vec::leak(slots);
        let mut spec = ffi::PyType_Spec {
            name: name.as_ptr(),
            basicsize: size_of::<Object<T>>() as c_int,
            itemsize: 0,
            flags: (ffi::Py_TPFLAGS_DEFAULT | flags) as c_uint,
            slots: slots.as_mut_ptr(),
        };
        // SAFETY: the caller's promise about the slots; the spec itself is copied.
        let made = unsafe { ffi::PyType_FromSpec(&raw mut spec) };
        // SAFETY: the interpreter is held.
        unsafe { (*self.state.get()).type_object = made.cast() };
        !made.is_null()
    }

    /// The type, if it was made. The interpreter is held.
    pub(crate) fn type_object(&self) -> Option<Owned> {
        // SAFETY: the interpreter is held; types that were made are never freed.
        unsafe {
            let type_object = (*self.state.get()).type_object;
            (!type_object.is_null()).then(|| Owned::borrow(type_object.cast()))
        }
    }

    /// A new object with this content and one reference; null with an exception when there is no memory.
    ///
    /// # Safety
    /// The interpreter is held and the type was made.
    pub(crate) unsafe fn object(
        &self,
        vectorcall: Option<ffi::vectorcallfunc>,
        content: T,
    ) -> *mut ffi::PyObject {
        // SAFETY: the memory is as large as the type says, whether fresh or from the list; PyObject_Init sets the head, and the
        // rest is written before anybody sees the object.
        unsafe {
            let state = &mut *self.state.get();
            let memory = match state.free.pop() {
                Some(memory) => memory,
                None => ffi::PyObject_Malloc(size_of::<Object<T>>()),
            };
            if memory.is_null() {
                return ffi::PyErr_NoMemory();
            }
            let object = memory.cast::<Object<T>>();
            (&raw mut (*object).vectorcall).write(vectorcall);
            (&raw mut (*object).content).write(ManuallyDrop::new(content));
            ffi::PyObject_Init(memory.cast(), state.type_object)
        }
    }

    /// The content of an object of this type.
    ///
    /// # Safety
    /// `object` is alive for `'a`, of this type, and the interpreter is held.
    pub(crate) unsafe fn content<'a>(object: *mut ffi::PyObject) -> &'a T {
        // SAFETY: the caller's promise.
        unsafe { &(*object.cast::<Object<T>>()).content }
    }

    /// Drops an object's content and keeps or frees its memory: the body of the deallocation slot.
    ///
    /// # Safety
    /// Called once, with an object of this type whose last reference is gone.
    pub(crate) unsafe fn free(&self, object: *mut ffi::PyObject) {
        // SAFETY: nobody else has the object; its type lost one user.
        unsafe {
            let content = ManuallyDrop::take(&mut (*object.cast::<Object<T>>()).content);
            drop(content);
            // Read after the drop, which may have made and freed other objects.
            let state = &mut *self.state.get();
            if state.free.len() < FREE_OBJECTS {
                state.free.push(object.cast());
            } else {
                ffi::PyObject_Free(object.cast());
            }
            ffi::Py_DECREF(state.type_object.cast());
        }
    }
}

/// One slot of a type.
pub(crate) fn slot(number: c_int, function: *const c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot { slot: number, pfunc: function.cast_mut() }
}

/// A method without arguments.
pub(crate) fn method_without_arguments(name: &'static CStr, function: ffi::PyCFunction) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: function },
        ml_flags: ffi::METH_NOARGS,
        ml_doc: ptr::null(),
    }
}

/// A method with one argument.
pub(crate) fn method_with_argument(name: &'static CStr, function: ffi::PyCFunction) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: function },
        ml_flags: ffi::METH_O,
        ml_doc: ptr::null(),
    }
}

/// A method with any positional arguments, in a tuple.
pub(crate) fn method_with_tuple(name: &'static CStr, function: ffi::PyCFunction) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: function },
        ml_flags: ffi::METH_VARARGS,
        ml_doc: ptr::null(),
    }
}

/// Ends a method table and keeps it for ever, as types need it.
pub(crate) fn method_table(mut methods: Vec<ffi::PyMethodDef>) -> *const c_void {
    methods.push(ffi::PyMethodDef::zeroed());
    Vec::leak(methods).as_ptr().cast()
}

/// The member table that tells Python where the vectorcall entry lies.
pub(crate) fn vectorcall_member<T>() -> *const c_void {
    let member = ffi::PyMemberDef {
        name: c"__vectorcalloffset__".as_ptr(),
        type_code: ffi::Py_T_PYSSIZET,
        offset: vectorcall_offset::<T>(),
        flags: ffi::Py_READONLY,
        doc: ptr::null(),
    };
    // SAFETY: an all-zero member ends the table.
    let end = unsafe { std::mem::zeroed::<ffi::PyMemberDef>() };
    Vec::leak(vec![member, end]).as_ptr().cast()
}

/// The `tp_new` of types whose objects only this extension makes: without content they would be garbage.
pub(crate) unsafe extern "C" fn refuse_instantiation(
    _type: *mut ffi::PyTypeObject,
    _arguments: *mut ffi::PyObject,
    _keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by Python with the interpreter held.
    unsafe {
        ffi::PyErr_SetString(ffi::PyExc_TypeError, c"cannot create instances of this type".as_ptr());
    }
    ptr::null_mut()
}
