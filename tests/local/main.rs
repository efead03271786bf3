//! The store of one host: many processes on one file, and every way in which a file can be bad.

mod disks;
mod files;
mod guards;
mod processes;
mod support;
