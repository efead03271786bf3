//! Core, store and clock put together: acquire, hold, release.

mod acquire;
mod builder;
mod client_handle;
mod clock;
mod error;
mod here;
mod history;
mod hold;
mod options;
mod pace;
mod progress;
mod release;
mod reserve;
mod several;
mod unlock;
mod unsettled;

pub(crate) use builder::live_term;
pub use builder::{DEFAULT_LEASE, DEFAULT_WAIT, Guard, Lock};
pub use client_handle::Client;
pub use clock::{Clock, HostClock};
pub use error::{AcquireError, ReleaseError, humane};
pub use here::{CLEANUP_MARK, Found, Here, MARKER, Record, Rites};
pub use hold::{Hold, HoldStatus, HoldWatcher, Loss};
pub use options::{AcquireOptions, Parting, Wish};
pub use progress::{Held, Progress, Waiting, Why};
pub use release::Given;
pub use reserve::{Reservation, Reserved};
pub use several::Several;
pub use unlock::{Unlocked, Unlocking};
