//! What can happen next.

use std::rc::Rc;

use pipeline_lock::lock::{LockState, Outcome, Plan, Sight, plan};

use crate::{
    model::{Client, Ghost, Op, Phase, STEP, State, World, beat_of, moment, request, token, wall},
    store::{hear, serve},
};

/// A state that follows, and how.
pub struct Next {
    pub state: State,
    pub step: String,
    /// Whether nothing went wrong in it.
    pub is_good: bool,
}

/// What becomes of a write.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Delivery {
    Answered,
    /// It takes effect, and its sender does not hear of it.
    ReplyLost,
    Lost,
    /// It may take effect later; its sender does not wait for that.
    Late,
}

/// Everything that can happen in `state`. An error says which promise is broken.
pub fn all(world: &World, state: &State) -> Result<Vec<Next>, String> {
    let mut steps = Steps { world, state, found: Vec::new() };
    for client in 0..state.clients.len() {
        steps.of_client(client)?;
    }
    steps.of_ghosts()?;
    steps.time();
    Ok(steps.found)
}

struct Steps<'a> {
    world: &'a World,
    state: &'a State,
    found: Vec<Next>,
}

impl Steps<'_> {
    fn found(&mut self, state: State, is_good: bool, step: impl FnOnce() -> String) {
        self.found.push(Next { state, step: step(), is_good });
    }

    /// Nothing that was sent takes longer than a step: a reply is there, or the sender does not wait for it any more.
    fn time(&mut self) {
        if self.state.clients.iter().any(|it| it.pending.is_some()) {
            return;
        }
        let mut next = self.state.clone();
        next.now += STEP;
        for it in &mut next.clients {
            if it.runs_until.is_some_and(|until| until <= next.now) {
                it.runs_until = None;
                if it.phase == Phase::Working {
                    it.phase = Phase::Ending;
                }
            }
        }
        self.found(next, true, || "time passes".into());
    }

    fn of_ghosts(&mut self) -> Result<(), String> {
        for number in 0..self.state.ghosts.len() {
            let mut next = self.state.clone();
            let ghost = next.ghosts.remove(number);
            let request = request(self.world, ghost.client, ghost.tries, None);
            serve(&mut next, &request, &ghost.op)?;
            self.found(next, false, || format!("a late write of {} arrives", ghost.client));
        }
        Ok(())
    }

    fn of_client(&mut self, client: usize) -> Result<(), String> {
        let it = &self.state.clients[client];
        if let Some(op) = it.pending.clone() {
            self.deliver(client, &op, Delivery::Answered)?;
            if self.state.faults_left > 0 {
                for delivery in [Delivery::ReplyLost, Delivery::Lost, Delivery::Late] {
                    self.deliver(client, &op, delivery)?;
                }
            }
        } else {
            match it.phase {
                Phase::NotBegun => self.begin(client),
                Phase::Asking => self.ask(client)?,
                Phase::Working => self.work(client),
                Phase::Ending => self.give_back(client),
                Phase::Dead => self.retry(client),
                Phase::Over => {}
            }
        }
        if self.state.faults_left > 0 && !matches!(it.phase, Phase::NotBegun | Phase::Over | Phase::Dead) {
            self.crash(client);
        }
        Ok(())
    }

    fn begin(&mut self, client: usize) {
        // Of those who want the same it is no matter which one begins first.
        let is_like = |other: &usize| self.world.clients[*other] == self.world.clients[client];
        let earlier = (0..client).rev().find(is_like);
        if earlier.is_some_and(|other| self.state.clients[other].phase == Phase::NotBegun) {
            return;
        }
        let mut next = self.state.clone();
        let it = &mut next.clients[client];
        (it.phase, it.pending, it.sent) = (Phase::Asking, Some(Op::Free), self.state.now);
        self.found(next, true, || format!("{client} begins"));
    }

    fn ask(&mut self, client: usize) -> Result<(), String> {
        self.look(client, self.state.document.clone(), true)?;
        if self.state.faults_left > 0 && self.state.before.is_some() {
            self.look(client, self.state.before.clone(), false)?;
        }
        if self.world.leave {
            let mut next = self.state.clone();
            next.clients[client].phase = Phase::Ending;
            self.found(next, false, || format!("{client} gives up"));
        }
        Ok(())
    }

    /// One look, and what the core makes of it.
    fn look(&mut self, client: usize, seen: Option<Rc<LockState>>, is_fresh: bool) -> Result<(), String> {
        let mut next = self.state.clone();
        next.faults_left -= u8::from(!is_fresh);
        let now = next.now;
        let it = &mut next.clients[client];
        it.sent = now;
        let how = if is_fresh { "looks" } else { "looks at what was before" };
        let Some(seen) = seen else {
            it.pending = Some(Op::Free);
            self.found(next, is_fresh, || format!("{client} {how}: nothing"));
            return Ok(());
        };
        let request = request(self.world, client, it.tries, it.replaces);
        it.seen.observe(&seen, now);
        it.was_queued |= seen.waiter(request.token).is_some();
        let sight = Sight {
            now: moment(now),
            store_now: wall(),
            gone: &[],
            may_queue: true,
            was_queued: it.was_queued,
        };
        let plan = plan(&seen, &request, it.seen.watch(), sight, wall());
        let does = match plan {
            Plan::Hold => {
                let beat = seen.holder(request.token).map_or(0, |h| beat_of(h).0) + 1;
                it.pending = Some(Op::Renew { beat, confirms: true });
                "renews what it has"
            }
            Plan::Write { next, outcome, .. } => {
                let grants = outcome == Outcome::Granted;
                it.pending = Some(Op::This { expected: seen, new: Rc::new(*next), grants });
                if grants { "claims" } else { "writes" }
            }
            Plan::Wait(_) => "waits",
            Plan::Superseded => {
                if !self.is_retried(client) {
                    return Err(format!("{client} is told of a newer try that there is not"));
                }
                it.phase = Phase::Over;
                "is superseded"
            }
            other => return Err(format!("{client} is told {other:?}")),
        };
        self.found(next, is_fresh, || format!("{client} {how}: {does}"));
        Ok(())
    }

    /// Whether an older or newer try of the client may be there.
    fn is_retried(&self, client: usize) -> bool {
        self.state.clients[client].tries > 0
    }

    fn work(&mut self, client: usize) {
        let mut next = self.state.clone();
        let it = &mut next.clients[client];
        (it.runs_until, it.phase) = (None, Phase::Ending);
        self.found(next, true, || format!("{client} has ended its work"));
        if self.state.clients[client].renewals < self.world.renewals {
            let mut next = self.state.clone();
            let it = &mut next.clients[client];
            it.renewals += 1;
            it.beat += 1;
            it.sent = self.state.now;
            it.pending = Some(Op::Renew { beat: it.beat, confirms: false });
            self.found(next, true, || format!("{client} renews"));
        }
    }

    fn give_back(&mut self, client: usize) {
        let mut next = self.state.clone();
        let it = &mut next.clients[client];
        let released = self.state.document.as_ref().and_then(|current| {
            let mut new = (**current).clone();
            new.release(token(client, it.tries)).then(|| {
                new.seal(wall());
                Op::This { expected: current.clone(), new: Rc::new(new), grants: false }
            })
        });
        match released {
            Some(op) => it.pending = Some(op),
            None => it.phase = Phase::Over,
        }
        self.found(next, true, || format!("{client} gives back"));
    }

    /// The keeper dies; its work runs on until its deadline at the longest. What it sent may still arrive.
    fn crash(&mut self, client: usize) {
        let mut next = self.state.clone();
        next.faults_left -= 1;
        let it = &mut next.clients[client];
        it.phase = Phase::Dead;
        if let Some(op) = it.pending.take() {
            let tries = it.tries;
            let mut later = next.clone();
            later.ghosts.push(Ghost { client, tries, op });
            self.found(later, false, || format!("{client} dies, and what it wrote is on its way"));
        }
        self.found(next, false, || format!("{client} dies"));
    }

    /// Another try: where it is known that nothing of the old one lives, in its place, else like anyone.
    fn retry(&mut self, client: usize) {
        let it = &self.state.clients[client];
        // One try at a time: the old one's work has ended, whether its host knows that or not.
        if it.tries + 1 >= self.world.tries || it.runs_until.is_some() {
            return;
        }
        for replaces in [Some(token(client, it.tries)), None] {
            let mut next = self.state.clone();
            let fresh = State::new(self.world).clients.swap_remove(client);
            next.clients[client] = Client {
                tries: it.tries + 1,
                replaces,
                phase: Phase::Asking,
                pending: Some(Op::Free),
                sent: self.state.now,
                ..fresh
            };
            self.found(next, false, || format!("{client} tries again, in place of {replaces:?}"));
        }
    }

    fn deliver(&mut self, client: usize, op: &Op, delivery: Delivery) -> Result<(), String> {
        let mut next = self.state.clone();
        next.faults_left -= u8::from(delivery != Delivery::Answered);
        let it = &mut next.clients[client];
        it.pending = None;
        let (tries, request) = (it.tries, request(self.world, client, it.tries, it.replaces));
        let took = match delivery {
            Delivery::Lost => None,
            Delivery::Late => {
                next.ghosts.push(Ghost { client, tries, op: op.clone() });
                None
            }
            Delivery::Answered | Delivery::ReplyLost => Some(serve(&mut next, &request, op)?),
        };
        if let (Delivery::Answered, Some(took)) = (delivery, took) {
            hear(&mut next, client, op, took, &request)?;
        }
        // Whoever asks and hears nothing, or of a conflict, looks next.
        self.found(next, delivery == Delivery::Answered, || {
            format!("{client}'s {} is {delivery:?}", name(op))
        });
        Ok(())
    }
}

fn name(op: &Op) -> &'static str {
    match op {
        Op::Free => "first write",
        Op::This { grants: true, .. } => "claim",
        Op::This { .. } => "write",
        Op::Renew { .. } => "renewal",
    }
}
