//! Why a lock was not got.

use std::time::Duration;

use thiserror::Error;

use super::progress::Held;
use crate::{
    lock::{Full, LockName, clean},
    store::StoreError,
};

/// Why an acquire ended without the lock. Nothing is left behind in the queue.
#[derive(Clone, Debug, Error)]
pub enum AcquireError {
    /// The wait limit was reached. Raise the limit, or see why the holder takes so long.
    #[error("lock {name}: not free within {}; {}", humane(*.waited), held_by(.holders))]
    TimedOut {
        /// The lock.
        name: LockName,
        /// How long it was waited for.
        waited: Duration,
        /// Who holds it.
        holders: Vec<Held>,
    },
    /// It is not free, and the request was not to wait.
    #[error("lock {name}: not free; {}", held_by(.holders))]
    Busy {
        /// The lock.
        name: LockName,
        /// Who holds it.
        holders: Vec<Held>,
    },
    /// It is not free, and waiting for it could last for ever: the same job or pipeline holds a lock that sorts
    /// after it. Let one job name both, or take them in the order of their names.
    #[error(
        "lock {name}: not free, and not waited for: this job or its pipeline holds lock {after}, whose name sorts \
         after it, so that two could wait for each other; let one job name both locks, or take {name} first; {}",
        held_by(.holders)
    )]
    OutOfOrder {
        /// The lock.
        name: LockName,
        /// The lock that is held already.
        after: LockName,
        /// Who holds this one.
        holders: Vec<Held>,
    },
    /// So many jobs of this host wait for locks as the file says that may (`max_waiting`): one more would take
    /// a place of the runner from a job that could run. Try again later.
    #[error("lock {name}: not free, and {most} jobs of this host wait for locks already (`max_waiting`); {}", held_by(.holders))]
    Crowded {
        /// The lock.
        name: LockName,
        /// How many may wait.
        most: u32,
        /// Who holds it.
        holders: Vec<Held>,
    },
    /// Too many wait already: more than the lock's item has room for, or as many as the rule says that may
    /// (`max_queue`). Try again when fewer wait.
    #[error("lock {name}: its queue is full ({}); try again later", full_of(*.waiting, *.full))]
    QueueFull {
        /// The lock.
        name: LockName,
        /// How many wait.
        waiting: usize,
        /// What sets the bound.
        full: Full,
    },
    /// A newer try of the same job has taken the place over; this one is to end.
    #[error("lock {name}: a newer try of the same job has taken this place in the queue")]
    Superseded {
        /// The lock.
        name: LockName,
    },
    /// A newer pipeline of the same project and ref holds the lock or waits for it: this job's work would be
    /// undone by it, or undo it. Nothing is to be done, unless the older state is wanted: then run this job
    /// again when the newer one is through.
    #[error("lock {name}: pipeline {by} is newer and goes first, this job's work is obsolete")]
    Obsolete {
        /// The lock.
        name: LockName,
        /// The newer pipeline.
        by: u64,
    },
    /// A newer version of this program has written the lock's document. Upgrade this host.
    #[error(
        "lock {name}: its document has format {format}, written by a newer pipeline-lock; upgrade this one"
    )]
    Newer {
        /// The lock.
        name: LockName,
        /// The document's format.
        format: u32,
    },
    /// The store could not be used. The message names the cause and the next step.
    #[error("{}", error.about(name))]
    Store {
        /// The lock.
        name: LockName,
        /// What the store said.
        error: StoreError,
    },
}

impl AcquireError {
    /// The lock.
    pub const fn name(&self) -> &LockName {
        match self {
            Self::TimedOut { name, .. }
            | Self::Busy { name, .. }
            | Self::OutOfOrder { name, .. }
            | Self::Crowded { name, .. }
            | Self::QueueFull { name, .. }
            | Self::Superseded { name }
            | Self::Obsolete { name, .. }
            | Self::Newer { name, .. }
            | Self::Store { name, .. } => name,
        }
    }

    /// Whether the request may stand in the store: of what could not be asked or written it is not known.
    pub const fn leaves_it_open(&self) -> bool {
        matches!(self, Self::Store { .. } | Self::Newer { .. })
    }

    /// Whether trying the same again soon could help: the store's trouble passes, a full queue drains.
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Store { error, .. } => error.is_passing(),
            Self::QueueFull { full: Full::Bytes, .. } => true,
            _ => false,
        }
    }

    /// Whether the store or this host failed, rather than that others have the lock.
    pub const fn is_of_the_host(&self) -> bool {
        matches!(self, Self::Store { .. } | Self::Newer { .. } | Self::QueueFull { full: Full::Bytes, .. })
    }
}

/// Why a release is not known to have taken effect.
#[derive(Clone, Debug, Error)]
#[error("could not be released: {}; a job's hold ends with its lease, one of `acquire` with its --ttl; `pipeline-lock unlock` ends it before", error.about(name))]
pub struct ReleaseError {
    /// The lock.
    pub name: LockName,
    /// What the store said last.
    pub error: StoreError,
}

/// A duration as people say it: `850 ms`, `12 s`, `4 min 05 s`, `2 h 03 min`.
pub fn humane(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

fn full_of(waiting: usize, full: Full) -> String {
    match full {
        Full::Bytes => format!("{waiting} wait, and its document has room for no more"),
        Full::Count(most) => format!("{waiting} wait, `max_queue` is {most}"),
    }
}

fn held_by(holders: &[Held]) -> String {
    if let Some((who, reason)) = holders.iter().find_map(|h| Some((&h.who, h.reserved.as_ref()?))) {
        let user = if who.user.is_empty() { format!("somebody on {}", who.host) } else { who.user.clone() };
        return format!("reserved by {}: {}", clean(&user), clean(reason));
    }
    let Some(first) = holders.first() else { return "others wait for it".into() };
    let who = &first.who;
    // Outside of CI there is no page to look at: then user and host tell whom to ask.
    let who = match who.url.as_str() {
        "" => [&who.job, &who.user, &who.host],
        _ => [&who.job, &who.project, &who.url],
    };
    let parts: Vec<&str> = who.into_iter().filter(|t| !t.is_empty()).map(String::as_str).collect();
    let named = if parts.is_empty() { first.owner.clone() } else { parts.join(" · ") };
    let named = clean(&named);
    match holders.len() {
        1 => format!("held by {named}"),
        n => format!("held by {named} and {} more", n - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::CodecError;

    #[test]
    fn a_holders_words_are_no_commands() {
        let evil = "x\u{1b}]0;title\u{7}\nlock shop: free\u{202e}";
        let mut state = crate::lock::LockState::new(crate::lock::EpochMs(0));
        let token = crate::lock::Token::new(uuid::Uuid::from_u128(1));
        let term = crate::lock::Term::Static { until: None };
        let mut request = crate::lock::Request::new(crate::lock::Owner::alone(token), token, term);
        request.who.job = evil.into();
        state.request(&request, false);
        let mut holders = Held::all(&state);
        for reserved in [None, Some(evil.to_owned())] {
            holders[0].reserved = reserved;
            let said = held_by(&holders);
            assert!(said.contains("lock shop: free") && !said.contains(crate::lock::is_odd), "{said:?}");
        }
    }

    #[test]
    fn a_lock_is_named_once() {
        let name = LockName::new("shop").unwrap();
        let foreign = StoreError::Document { name: name.clone(), error: CodecError::Foreign };
        for error in [foreign, StoreError::Refused("no".into())] {
            let acquire = AcquireError::Store { name: name.clone(), error: error.clone() }.to_string();
            let release = ReleaseError { name: name.clone(), error }.to_string();
            for message in [acquire, release] {
                assert_eq!(message.matches("lock shop").count(), 1, "{message}");
            }
        }
    }
}
