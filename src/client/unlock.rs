//! Ending other people's holds: those that nobody watches over at once, those of the living by asking, those
//! of the dead as every waiter does.

use std::time::Duration;

use tracing::info;

use super::{Client, Held, graves::Graves};
use crate::{
    lock::{Beat, Holder, How, LockName, LockState, Term, Token, Watch},
    store::StoreError,
};

/// Between two looks at holders that were asked to end.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The place from which it looks: that of a head, which evicts as soon as anyone may.
const PLACE: usize = 1;

/// One piece of news of holds that are being ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Unlocking {
    /// The hold was removed.
    Removed {
        /// The hold, as it was.
        held: Box<Held>,
        /// How it ended.
        how: How,
    },
    /// The holder was asked to end its work and to release.
    Asked(Box<Held>),
    /// The holder gave it back, or somebody else removed it.
    Gone(Box<Held>),
}

/// What there is when it is done.
#[derive(Clone, Debug, PartialEq)]
pub struct Unlocked {
    /// The lock's document.
    pub state: Option<LockState>,
    /// Those who hold on: the time was over, or a newer program wrote the document.
    pub left: Vec<Held>,
}

/// What one swap does.
#[derive(Default)]
struct Step {
    removed: Vec<(Holder, How)>,
    asked: Vec<Holder>,
}

impl Step {
    /// Ends what can be ended of `tokens` in `state`; false if there is nothing to do.
    fn apply(state: &mut LockState, tokens: &[Token], by: &str, dead: &Dead) -> Self {
        let mut step = Self::default();
        if state.is_newer() {
            return step;
        }
        let holders: Vec<Holder> =
            state.holders.iter().filter(|h| tokens.contains(&h.token)).cloned().collect();
        for holder in holders {
            let is_dead = dead.buried.contains(&holder.token);
            let silent = dead.silent.iter().find(|(token, _)| *token == holder.token);
            if is_dead && state.release(holder.token) {
                step.removed.push((holder, How::Evicted));
            } else if matches!(holder.term, Term::Static { .. }) && state.release(holder.token) {
                step.removed.push((holder, How::Forced));
            } else if silent.is_some_and(|(token, beat)| state.evict(*token, *beat)) {
                step.removed.push((holder, How::Evicted));
            } else if state.revoke(holder.token, by) {
                step.asked.push(holder);
            }
        }
        step
    }

    const fn is_nothing(&self) -> bool {
        self.removed.is_empty() && self.asked.is_empty()
    }
}

/// Whom one may remove.
struct Dead {
    buried: Vec<Token>,
    silent: Vec<(Token, Beat)>,
}

impl Client {
    /// Ends the holds `tokens` of `name`, on behalf of `by`: static ones at once, those of the dead as soon as any
    /// waiter could, and a live one by asking: its holder ends its work first. Waits until none is left, `wait`
    /// at most; places in the queue stay.
    pub async fn unlock(
        &self,
        name: &LockName,
        tokens: &[Token],
        by: &str,
        wait: Duration,
        mut news: impl FnMut(&Unlocking) + Send,
    ) -> Result<Unlocked, StoreError> {
        let until = self.clock.now().plus(wait);
        let graves = Graves::new(self.here.clone(), self.store.liveness());
        let mut unlock = Unlock { client: self, name, tokens, by, watch: Watch::default(), graves };
        let mut asked: Vec<Held> = Vec::new();
        loop {
            match unlock.step().await {
                Err(error) if error.is_passing() && self.clock.now() < until => {}
                Err(error) => return Err(error),
                Ok((state, told)) => {
                    for told in &told {
                        news(told);
                        match told {
                            Unlocking::Asked(held) => asked.push((**held).clone()),
                            Unlocking::Removed { held, .. } => asked.retain(|a| a.token != held.token),
                            Unlocking::Gone(_) => {}
                        }
                    }
                    let left = chosen(state.as_ref(), tokens);
                    for gone in asked.extract_if(.., |a| left.iter().all(|other| other.token != a.token)) {
                        news(&Unlocking::Gone(Box::new(gone)));
                    }
                    let is_newer = state.as_ref().is_some_and(LockState::is_newer);
                    if left.is_empty() || is_newer || self.clock.now() >= until {
                        return Ok(Unlocked { state, left });
                    }
                }
            }
            self.clock.sleep_until(self.clock.now().plus(LOOK_EVERY).min(until)).await;
        }
    }
}

/// Holds that are being ended.
struct Unlock<'a> {
    client: &'a Client,
    name: &'a LockName,
    tokens: &'a [Token],
    by: &'a str,
    watch: Watch,
    graves: Graves,
}

impl Unlock<'_> {
    /// One look, and what may be done after it. The result is the document as it stands then.
    async fn step(&mut self) -> Result<(Option<LockState>, Vec<Unlocking>), StoreError> {
        let Some(seen) = self.client.look(self.name).await? else { return Ok((None, Vec::new())) };
        let dead = self.dead(&seen).await;
        let (mut step, mut before) = (Step::default(), seen.clone());
        let change = |state: &mut LockState| {
            before = state.clone();
            step = Step::apply(state, self.tokens, self.by, &dead);
            !step.is_nothing()
        };
        let after = self.client.change(self.name, Some(seen), change).await?;
        after.iter().for_each(|after| self.graves.close(after));
        let mut told = Vec::new();
        for (holder, how) in step.removed {
            info!(lock = %self.name, owner = %holder.owner, ?how, "a hold was ended");
            self.client.record_removal(self.name, &before, &holder, how);
            told.push(Unlocking::Removed { held: Box::new(Held::of(&before, &holder)), how });
        }
        told.extend(step.asked.iter().map(|h| Unlocking::Asked(Box::new(Held::of(&before, h)))));
        Ok((after, told))
    }

    async fn dead(&mut self, seen: &LockState) -> Dead {
        let now = self.client.clock.now();
        self.watch.observe(seen, now);
        let mut only = seen.clone();
        only.holders.retain(|h| self.tokens.contains(&h.token));
        only.queue.clear();
        let nobody = Token::new(uuid::Uuid::nil());
        let buried = self.graves.look(&only, nobody, now).await;
        Dead { buried, silent: self.watch.dead(PLACE, self.client.clock.now()) }
    }
}

fn chosen(state: Option<&LockState>, tokens: &[Token]) -> Vec<Held> {
    let Some(state) = state else { return Vec::new() };
    state.holders.iter().filter(|h| tokens.contains(&h.token)).map(|h| Held::of(state, h)).collect()
}
