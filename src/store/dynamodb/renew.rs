//! A renewal: a write on one's own entry alone, which never loses against waiters and never makes anything.

use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_sdk_dynamodb::types::AttributeValue;

use super::{expression::Change, item::number};
use crate::lock::{Beat, LockName, LockState, Token};

/// Raises the beat of the hold at `index`, if that is the hold of `token` and has a lower one. The revision
/// moves on, so that no swap that saw the older beat takes effect.
pub(super) fn beat(index: usize, token: Token, beat: Beat) -> Change {
    let own = format!("#Holders[{index}]");
    Change {
        condition: format!("{own}.#Token = :token AND {own}.#Beat < :beat"),
        set: vec![format!("{own}.#Beat = :beat"), "#Rev = #Rev + :one".into()],
        remove: Vec::new(),
        values: vec![
            (":token", AttributeValue::S(token.to_string())),
            (":beat", number(beat)),
            (":one", number(1)),
        ],
        wants_item: true,
    }
}

/// Where the holds that are renewed here were last seen in their documents: an entry is written by its index.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Vec<Hold>>);

#[derive(Debug)]
struct Hold {
    name: LockName,
    token: Token,
    index: usize,
}

impl Seen {
    /// Where to try first.
    pub(super) fn index(&self, name: &LockName, token: Token) -> usize {
        self.lock().iter().find(|h| h.token == token && h.name == *name).map_or(0, |h| h.index)
    }

    /// Remembers a hold that was renewed.
    pub(super) fn keep(&self, name: &LockName, token: Token, index: usize) {
        let mut holds = self.lock();
        holds.retain(|h| h.token != token || h.name != *name);
        holds.push(Hold { name: name.clone(), token, index });
    }

    /// Takes in a document: holds may have moved, or ended.
    pub(super) fn note(&self, name: &LockName, state: &LockState) {
        self.lock().retain_mut(|hold| {
            if hold.name != *name {
                return true;
            }
            let index = state.holders.iter().position(|h| h.token == hold.token);
            hold.index = index.unwrap_or(hold.index);
            index.is_some()
        });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Hold>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{EpochMs, Limit, Owner, Request, Term};

    fn request(n: u128) -> Request {
        let token = Token::new(uuid::Uuid::from_u128(n));
        let term = Term::Live { beat: Beat(0), lease: None };
        Request { limit: Limit(9), ..Request::new(Owner::alone(token), token, term) }
    }

    #[test]
    fn what_is_seen_of_a_hold_goes_with_it_and_moves_with_it() {
        let [lock, other] = ["lock", "other"].map(|name| LockName::new(name).unwrap());
        let (first, second) = (request(1), request(2));
        let mut state = LockState::new(EpochMs(0));
        for request in [&first, &second] {
            state.request(request, true);
        }
        let seen = Seen::default();
        for (name, token, index) in
            [(&lock, first.token, 0), (&lock, second.token, 1), (&other, second.token, 5)]
        {
            seen.keep(name, token, index);
        }
        state.release(first.token);
        seen.note(&lock, &state);
        assert_eq!((seen.index(&lock, second.token), seen.index(&other, second.token)), (0, 5));
        assert_eq!(seen.lock().len(), 2, "the first hold has ended");
    }
}
