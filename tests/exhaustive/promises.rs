//! What holds of every change and of every state.

use std::collections::BTreeSet;

use pipeline_lock::lock::{Holder, LockState, Mode, Owner, Token};

use crate::model::{State, World, client_of, request, token};

/// Fencing numbers grow, revisions grow, nobody's number changes, grants are in turn, and no holder's slot is
/// another's.
pub fn of_a_change(before: &LockState, after: &LockState) -> Result<(), String> {
    if after.rev <= before.rev {
        return Err(format!("revision {} follows {}", after.rev, before.rev));
    }
    for holder in &after.holders {
        let fence = after.fence_of(holder);
        let is_same = match before.holder(holder.token).filter(|h| !h.between || holder.between) {
            Some(old) => before.fence_of(old) == fence,
            None => fence > before.fence,
        };
        if !is_same {
            return Err(format!("{:?} has fence {fence} after {}", holder.token, before.fence));
        }
    }
    in_turn(before, after)?;
    let holds: BTreeSet<(String, u32)> =
        after.holders.iter().map(|h| (hold(&h.owner, h.token), h.slot)).collect();
    let slots: BTreeSet<u32> = holds.iter().map(|(_, slot)| *slot).collect();
    if slots.len() != holds.len() {
        return Err(format!("slots are used twice: {holds:?}"));
    }
    if after.holders.iter().any(|h| holds.len() > h.limit.0.max(1) as usize) {
        return Err(format!("more hold than may: {holds:?}"));
    }
    Ok(())
}

/// Who is granted the lock alone has nobody ahead of it, but for those who are passed over by that.
fn in_turn(before: &LockState, after: &LockState) -> Result<(), String> {
    let is_new = |h: &&Holder| before.holders.iter().all(|old| old.owner != h.owner);
    let is_alone = |h: &&Holder| h.mode == Mode::Exclusive && h.limit.0 == 1;
    for holder in after.holders.iter().filter(is_new).filter(is_alone) {
        let ahead = before.in_order().into_iter().take_while(|w| w.owner != holder.owner);
        for waiter in ahead {
            if after.waiter(waiter.token).is_some_and(|now| now.missed <= waiter.missed) {
                return Err(format!("{:?} is granted the lock before {:?}", holder.token, waiter.token));
            }
        }
    }
    Ok(())
}

/// A pipeline's members are one hold.
fn hold(owner: &Owner, token: Token) -> String {
    if owner.has_members() { owner.to_string() } else { token.to_string() }
}

/// Those who run get on, and each of them has the lock, by the document and by the number that it was given.
pub fn of_a_state(world: &World, state: &State) -> Result<(), String> {
    let running: Vec<usize> = (0..state.clients.len()).filter(|client| state.runs(*client)).collect();
    let requests: Vec<_> =
        running.iter().map(|client| request(world, *client, state.clients[*client].tries, None)).collect();
    let holds: BTreeSet<String> = requests.iter().map(|r| hold(&r.owner, r.token)).collect();
    let smallest = requests.iter().map(|r| r.limit.0).min().unwrap_or(1) as usize;
    let modes: BTreeSet<bool> = requests.iter().map(|r| r.mode == Mode::Shared).collect();
    if holds.len() > 1 && (modes.len() > 1 || holds.len() > smallest) {
        return Err(format!("these run together: {running:?}"));
    }
    for client in running {
        let it = &state.clients[client];
        let holder = state.document.as_ref().and_then(|document| document.holder(token(client, it.tries)));
        let Some(holder) = holder else { return Err(format!("{client} runs and does not hold")) };
        if state.document.as_ref().map(|document| document.fence_of(holder)) != it.fence {
            return Err(format!("{client} runs with an old fencing number"));
        }
    }
    order(state)
}

/// Nobody is in the document twice, and the queue is in the order in which its members came.
fn order(state: &State) -> Result<(), String> {
    let Some(document) = &state.document else { return Ok(()) };
    let tokens: Vec<Token> =
        document.holders.iter().map(|h| h.token).chain(document.queue.iter().map(|w| w.token)).collect();
    if tokens.iter().collect::<BTreeSet<_>>().len() != tokens.len() {
        return Err("somebody is there twice".into());
    }
    let tickets: Vec<_> = document.in_order().iter().map(|w| w.ticket).collect();
    if !tickets.is_sorted() || tokens.iter().any(|token| client_of(*token).0 >= state.clients.len()) {
        return Err("the queue is out of order".into());
    }
    Ok(())
}
