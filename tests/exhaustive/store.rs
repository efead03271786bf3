//! The store, and what a client makes of its replies.

use std::rc::Rc;

use pipeline_lock::{
    lock::{Beat, Holder, LockState, Request},
    store::Expected,
};

use crate::{
    model::{LEASE, Op, Phase, State, beat_of, wall},
    promises,
};

/// The store does what is asked; whether it took effect.
pub fn serve(state: &mut State, request: &Request, op: &Op) -> Result<bool, String> {
    let current = state.document.clone();
    let next = match op {
        Op::Free => {
            let mut new = LockState::new(wall());
            new.holders.push(Holder::granted(request, None));
            (Expected::Free { seed: wall() }).apply(current.as_deref(), &new)
        }
        Op::This { expected, new, .. } => Expected::This(expected).apply(current.as_deref(), new),
        Op::Renew { beat, .. } => current.as_deref().cloned().and_then(|mut state| {
            let is_renewed = state.renew(request.token, Beat(*beat));
            is_renewed.then_some(state)
        }),
    };
    let Some(next) = next else { return Ok(false) };
    if let Some(current) = &current {
        promises::of_a_change(current, &next)?;
    }
    state.before = current;
    state.document = Some(Rc::new(next));
    Ok(true)
}

/// What a client makes of a reply.
pub fn hear(state: &mut State, client: usize, op: &Op, took: bool, request: &Request) -> Result<(), String> {
    let now = state.now;
    let current = state.document.clone();
    let it = &mut state.clients[client];
    let is_granted = match op {
        Op::Free => took,
        Op::This { grants, .. } => took && *grants,
        Op::Renew { confirms, .. } => took && *confirms,
    };
    if let (true, Op::This { grants: false, .. }, Phase::Asking) = (took, op, it.phase) {
        // The reply to one's own write is a document that was seen.
        if let Some(current) = &current {
            it.seen.observe(current, now);
            it.was_queued |= current.waiter(request.token).is_some();
        }
    }
    match (it.phase, op) {
        (Phase::Asking, _) if is_granted => {
            let holder = current.as_ref().and_then(|c| c.holder(request.token).cloned());
            let holder = holder.ok_or(format!("{client} was granted what it has not"))?;
            it.phase = Phase::Working;
            it.runs_until = Some(it.sent + LEASE);
            it.beat = beat_of(&holder).0;
            it.fence = current.as_ref().map(|c| c.fence_of(&holder));
        }
        (Phase::Working, Op::Renew { .. }) if took => it.runs_until = Some(it.sent + LEASE),
        (Phase::Working, Op::Renew { .. }) => {
            return Err(format!("{client} lost its hold before its deadline"));
        }
        _ => {}
    }
    Ok(())
}
