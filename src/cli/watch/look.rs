//! One look at the locks that are watched.

use std::collections::BTreeMap;

use super::event::{Event, events};
use crate::{
    client::Client,
    host::clock::wall_ms,
    lock::{EpochMs, LockName, LockState},
    store::{Consistency, StoreError},
};

/// Which locks.
#[derive(Clone, Debug)]
pub enum Which {
    /// This one.
    One(LockName),
    /// All whose names begin so.
    All(String),
}

/// What was seen last.
#[derive(Debug)]
pub struct Looks {
    which: Which,
    seen: Option<BTreeMap<LockName, LockState>>,
}

impl Looks {
    /// Nothing was seen yet.
    pub const fn new(which: Which) -> Self {
        Self { which, seen: None }
    }

    /// The locks as they were seen last.
    pub fn seen(&self) -> impl Iterator<Item = (&LockName, &LockState)> {
        self.seen.iter().flatten()
    }

    /// The one lock that is watched.
    pub const fn one(&self) -> Option<&LockName> {
        match &self.which {
            Which::One(name) => Some(name),
            Which::All(_) => None,
        }
    }

    /// Looks again: what has happened since the last look. Cheap reads, which may be a little old.
    pub async fn look(&mut self, client: &Client) -> Result<Vec<Event>, StoreError> {
        let mut now: BTreeMap<LockName, LockState> = match &self.which {
            Which::One(name) => {
                let state = client.find(name, Consistency::Eventual).await?;
                state.map(|state| (name.clone(), state)).into_iter().collect()
            }
            Which::All(prefix) => {
                let all = client.find_all(Consistency::Eventual).await?;
                all.into_iter().filter(|(name, _)| name.as_str().starts_with(prefix)).collect()
            }
        };
        Ok(self.compare(&mut now, EpochMs(wall_ms())))
    }

    fn compare(&mut self, now: &mut BTreeMap<LockName, LockState>, at: EpochMs) -> Vec<Event> {
        let Some(seen) = &mut self.seen else {
            let first = now.iter().flat_map(|(name, state)| events(at, name, None, Some(state))).collect();
            self.seen = Some(std::mem::take(now));
            return first;
        };
        let mut happened = Vec::new();
        for (name, state) in now.iter_mut() {
            match seen.get(name) {
                // An older copy of what was seen already.
                Some(known) if known.rev > state.rev => *state = known.clone(),
                Some(known) => happened.extend(events(at, name, Some(known), Some(state))),
                None => happened.extend(events(at, name, Some(&LockState::new(EpochMs(0))), Some(state))),
            }
        }
        for (name, known) in seen.iter().filter(|(name, _)| !now.contains_key(*name)) {
            happened.extend(events(at, name, Some(known), None));
        }
        *seen = std::mem::take(now);
        happened
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{Owner, Request, Term, Token};

    #[test]
    fn an_older_copy_of_what_was_seen_is_no_news() {
        let name = LockName::new("a").unwrap();
        let token = Token::new(uuid::Uuid::from_u128(1));
        let old = LockState::new(EpochMs(7));
        let mut new = old.clone();
        new.request(&Request::new(Owner::alone(token), token, Term::Static { until: None }), false);
        new.seal(EpochMs(8));
        let mut looks = Looks::new(Which::One(name.clone()));
        let mut look = |state: &LockState| {
            looks.compare(&mut BTreeMap::from([(name.clone(), state.clone())]), EpochMs(9)).len()
        };
        assert_eq!([look(&old), look(&new), look(&old), look(&new)], [0, 1, 0, 0]);
    }
}
