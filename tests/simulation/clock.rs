//! The clocks of a simulated host, and the view that one of its processes has of them.

use std::time::Duration;

use async_trait::async_trait;
use pipeline_lock::{
    client::Clock,
    lock::{EpochMs, Moment},
};

use crate::{Real, process::Process, scenario::START};

/// A host's clocks: one that counts from its boot at its own rate, and one on the wall that people set.
#[derive(Clone, Debug)]
pub struct HostClock {
    /// How many microseconds it counts in a true millisecond.
    pub rate: u64,
    /// What it showed when the simulation began.
    pub origin: Duration,
    /// How far the wall clock is off.
    pub wall_offset: i64,
    /// When it is set, and by how much.
    pub jumps: Vec<(Real, i64)>,
}

impl HostClock {
    /// What the clock shows at a true time.
    pub fn moment(&self, real: Real) -> Moment {
        Moment(self.origin + Duration::from_micros(real * self.rate))
    }

    /// The first true time at which it shows `moment`.
    pub fn real(&self, moment: Moment) -> Real {
        let since = moment.0.saturating_sub(self.origin).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX).div_ceil(self.rate * 1000)
    }

    /// What the wall clock shows.
    pub fn wall(&self, real: Real) -> EpochMs {
        let set: i64 = self.jumps.iter().filter(|(at, _)| *at <= real).map(|(_, by)| by).sum();
        EpochMs((START + real).saturating_add_signed(self.wall_offset + set))
    }
}

#[async_trait]
impl Clock for Process {
    fn now(&self) -> Moment {
        self.world.moment(self.id)
    }

    fn wall(&self) -> EpochMs {
        self.world.wall(self.id)
    }

    async fn sleep_until(&self, moment: Moment) {
        self.world.until(self.world.real(self.id, moment)).await;
        self.gate().await;
    }
}
