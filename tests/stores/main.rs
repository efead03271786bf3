//! What every store promises, tested over each of them.

/// Makes a test of each case for each store; `Bench` is a new, empty one.
macro_rules! on_stores {
    (@one $store:ident { $($case:ident),+ $(,)? }) => {
        mod $store {
            $(#[test] fn $case() { crate::bench::$store(super::$case); })+
        }
    };
    ($($store:ident)+: $cases:tt) => { $(on_stores!(@one $store $cases);)+ };
}

mod bench;
mod contention;
mod documents;
mod history;
mod newer;
mod parts;
mod renewals;
mod swaps;
