//! What the runner sees of the four stages.

mod deaths;
mod harness;
mod scripts;
mod waiting;
