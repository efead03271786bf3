//! The store of one host: many processes on one file, and every way in which a file can be bad.

mod files;
mod processes;
mod support;
