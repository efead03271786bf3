//! `watch`: follows the locks as they change hands.

mod event;
mod look;
mod run;
mod screen;

pub use run::run;
