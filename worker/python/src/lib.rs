//! The Python worker: an extension module that the user's interpreter loads.
