//! How bad it is in a run: the network, and all else.

use fastrand::Rng;

use crate::scenario::one_in;

/// How much goes wrong.
#[derive(Clone, Copy, PartialEq)]
pub enum Weather {
    Calm,
    Lossy,
    Deadly,
    Stormy,
}

impl Weather {
    pub fn some(rng: &mut Rng) -> Self {
        match rng.u32(0..10) {
            0..2 => Self::Calm,
            2..5 => Self::Lossy,
            5..7 => Self::Deadly,
            _ => Self::Stormy,
        }
    }

    /// The network is bad.
    pub fn is_lossy(self) -> bool {
        matches!(self, Self::Lossy | Self::Stormy)
    }

    /// Processes and hosts stop and die.
    pub fn is_deadly(self) -> bool {
        matches!(self, Self::Deadly | Self::Stormy)
    }
}

/// How often, in a thousand, a request has which fate.
#[derive(Clone, Copy, Default)]
pub struct Network {
    pub lost: u32,
    pub reply_lost: u32,
    pub late: u32,
    pub twice: u32,
    pub throttled: u32,
    pub stale: u32,
    /// How often a process stops just before it sends or just after it hears.
    pub stall: u32,
}

impl Network {
    pub fn some(rng: &mut Rng, weather: Weather) -> Self {
        if !weather.is_lossy() {
            return Self::default();
        }
        let mut some = |most: u32| if one_in(rng, 2) { rng.u32(0..most) } else { 0 };
        Self {
            lost: some(100),
            reply_lost: some(150),
            late: some(150),
            twice: some(60),
            throttled: some(80),
            stale: some(400),
            stall: some(40),
        }
    }

    pub fn is_well(&self) -> bool {
        self.lost + self.reply_lost + self.late + self.twice + self.throttled + self.stale + self.stall == 0
    }
}
