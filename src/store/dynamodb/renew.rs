//! A renewal: a write on one's own entry alone, which never loses against waiters and never makes anything.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

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

/// Who held a lock when it was last seen, in the order of the document: an entry is renewed by its index.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<HashMap<LockName, Vec<Token>>>);

impl Seen {
    pub(super) fn note(&self, name: &LockName, state: &LockState) {
        let tokens: Vec<Token> = state.holders.iter().map(|h| h.token).collect();
        self.lock().insert(name.clone(), tokens);
    }

    /// Where the hold of `token` was; the first place if it was not seen.
    pub(super) fn index(&self, name: &LockName, token: Token) -> usize {
        let seen = self.lock();
        seen.get(name).and_then(|tokens| tokens.iter().position(|t| *t == token)).unwrap_or(0)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<LockName, Vec<Token>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
