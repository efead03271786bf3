//! The same scenario on each store.

/// Makes a test `local::NAME` and a test `dynamodb::NAME` of each scenario, a function that takes a host.
#[macro_export]
macro_rules! on_both_stores {
    ($($name:ident)*) => {
        mod local {
            $(#[test] fn $name() { super::$name(&$crate::harness::Host::local("")); })*
        }
        mod dynamodb {
            $(#[test] fn $name() { super::$name(&$crate::harness::Host::dynamodb("")); })*
        }
    };
}
