//! Properties of the pure core, against a simulation in virtual time: clients with clocks of their own, one
//! document, and a network that loses, delays and repeats. The clients act by `plan()` and the transitions
//! alone; what is checked is written down here a second time, in other words.

mod audit;
mod client;
mod codec;
mod order;
mod progress;
mod scenario;
mod server;
mod walk;
mod world;

use std::time::Duration;

use proptest::prelude::*;

/// The lease of every live hold in the simulation.
pub const LEASE: Duration = Duration::from_secs(20);

/// How often a holder renews.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long a client waits for a reply.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// True time, in milliseconds since the simulation began. The store's clock shows it, nobody else's does.
pub type Real = u64;

/// What went wrong.
pub type Verdict = Result<(), String>;

/// `cases` runs by default; `PROPTEST_CASES` says otherwise.
pub fn config(cases: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(cases);
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 2000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(400))]

    /// Every promise of the core at once: see `audit`, `order`, `progress` and `world` for what they are.
    #[test]
    fn no_interleaving_breaks_a_promise(scenario in scenario::any()) {
        if let Err(broken) = world::run(&scenario, false) {
            let trace = world::run(&scenario, true).err().unwrap_or_default();
            return Err(TestCaseError::fail(format!("{broken}\n{trace}")));
        }
    }
}
