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
