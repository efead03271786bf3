//! Getting a lock: write first, then poll by reading. Every decision is a swap, so a stale read can only
//! cost another look.

use std::time::Duration;

use tracing::{debug, info, warn};

use super::{
    AcquireError, AcquireOptions, Client, Held, Hold, Progress, Waiting, crush::Crush, graves::Graves,
    hold::Grant, pace::Pace, rings, since::by_the_stores_clock,
};
use crate::{
    host::{bell::BellWatch, places::Place},
    lock::{
        EpochMs, Full, Holder, LockName, LockState, Moment, Outcome, Plan, Removal, Request, Sight, Term,
        Watch, plan,
    },
    store::{Consistency, Expected, Renewal, StoreError, Swap},
};

/// A waiting request says where it stands at least this often.
const NEWS_EVERY: Duration = Duration::from_secs(15);

/// How often the head looks whether a holder of this host still lives.
const PRESENCE_EVERY: Duration = Duration::from_millis(250);

/// How long a store that was never reached is asked before the request fails.
const FIRST_CONTACT: Duration = Duration::from_secs(20);

/// How long somebody in the queue endures a store that refuses it: policies change and credentials expire, and
/// both often come back.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// The pause after a request that failed in passing: doubled each time up to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// No look follows another sooner.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

impl Client {
    /// Asks for `name`, waiting as `options` say. `news` hears where the request stands. Whoever drops this
    /// before it is done, or gets an error of the store, calls [`Client::withdraw`] afterwards.
    pub async fn acquire(
        &self,
        name: &LockName,
        request: Request,
        options: AcquireOptions,
        mut news: impl FnMut(Progress) + Send,
    ) -> Result<Hold, AcquireError> {
        let mut grant = Acquire::new(self, name, request, options.clone(), &mut news).run().await?;
        by_the_stores_clock(self, name, &mut grant).await;
        Ok(Hold::begin(self.clone(), name.clone(), grant, &options))
    }
}

/// One request on its way to its lock.
struct Acquire<'a, F> {
    client: &'a Client,
    name: &'a LockName,
    request: Request,
    limit: Duration,
    options: AcquireOptions,
    started: Moment,
    /// When the time of a static hold began to count, if this step grants it.
    counted_from: EpochMs,
    news: &'a mut F,
    watch: Watch,
    graves: Graves,
    /// Listened to from when the request has to wait.
    bell: Option<BellWatch>,
    rings: u64,
    was_queued: bool,
    /// Nothing was seen that is held on the same behalf and sorts after this. Looked for once: all locks are read for it.
    is_in_order: bool,
    /// Whether a write of it goes into a hold that its pipeline has left standing.
    picks_up: bool,
    said: Option<(Waiting, Moment)>,
    trouble: Option<Trouble>,
    /// One of the host's places for those who wait.
    place: Option<Place>,
    pace: Pace,
    crush: Crush,
}

/// A store that does not answer.
struct Trouble {
    since: Moment,
    pause: Duration,
}

/// What one step led to.
enum Step {
    /// The lock is held.
    Granted(Box<Grant>),
    /// Look at this document next.
    See(Option<LockState>),
    /// Look again after a while.
    Wait(LockState, Duration),
}

impl<'a, F: FnMut(Progress) + Send> Acquire<'a, F> {
    fn new(
        client: &'a Client,
        name: &'a LockName,
        request: Request,
        options: AcquireOptions,
        news: &'a mut F,
    ) -> Self {
        let counted_from = if request.since == EpochMs(0) { client.store.now() } else { request.since };
        Self {
            client,
            name,
            request,
            counted_from,
            limit: options.wait,
            options,
            started: client.clock.now(),
            news,
            watch: Watch::default(),
            graves: Graves::new(client.here.clone(), client.store.liveness()),
            bell: None,
            rings: 0,
            was_queued: false,
            is_in_order: false,
            picks_up: false,
            said: None,
            trouble: None,
            place: None,
            pace: Pace::default(),
            crush: Crush::default(),
        }
    }

    async fn run(mut self) -> Result<Grant, AcquireError> {
        let mut step = self.first_write().await;
        loop {
            step = match step {
                Ok(Step::Granted(grant)) => return Ok(*grant),
                Ok(Step::See(Some(state))) => self.step(state).await,
                Ok(Step::See(None)) => self.first_write().await,
                Ok(Step::Wait(state, look)) => self.wait(state, look).await,
                Err(AcquireError::Store { error, .. }) => {
                    self.endure(error).await?;
                    // A read costs half of what a write that fails does, and less of a table that is short.
                    if self.was_queued { self.look(Consistency::Strong).await } else { Ok(Step::See(None)) }
                }
                Err(error) => return Err(error),
            };
        }
    }

    /// The time of a static hold counts from the step that grants it, not from when it began to be waited for.
    fn count_anew(&mut self) {
        let now = self.client.store.now();
        self.request.count_from(self.counted_from, now);
        self.counted_from = now;
    }

    fn waited(&self) -> Duration {
        self.client.clock.now().since(self.started)
    }

    fn queue_full(&self, state: &LockState, full: Full) -> AcquireError {
        AcquireError::QueueFull { name: self.name.clone(), waiting: state.queue.len(), full }
    }

    fn store_error(&self, error: StoreError) -> AcquireError {
        AcquireError::Store { name: self.name.clone(), error }
    }

    /// The uncontended way: one write, conditioned on a free lock.
    async fn first_write(&mut self) -> Result<Step, AcquireError> {
        let seed = self.client.clock.wall();
        self.count_anew();
        self.request.since = seed;
        let mut new = LockState::new(seed);
        new.holders.push(Holder::granted(&self.request, None));
        let sent = self.client.clock.now();
        match self.swap(Expected::Free { seed }, &new).await? {
            Swap::Swapped(state) => Ok(self.granted(state, sent)),
            Swap::Conflict(current) => Ok(Step::See(current)),
        }
    }

    /// One look at a document, and what follows from it.
    async fn step(&mut self, current: LockState) -> Result<Step, AcquireError> {
        let now = self.client.clock.now();
        self.observe(&current, now);
        self.graves.close(&current);
        let gone = self.graves.look(&current, self.request.token, now).await;
        self.count_anew();
        self.request.since = self.client.store.now();
        let sight = Sight {
            now,
            store_now: self.client.store.now(),
            gone: &gone,
            may_queue: !self.limit.is_zero(),
            was_queued: self.was_queued,
        };
        match plan(&current, &self.request, &self.watch, sight, self.client.clock.wall()) {
            Plan::Hold => self.found_held(current).await,
            Plan::Write { next, outcome, removed } => self.write(current, *next, outcome, removed).await,
            Plan::Wait(look) => Ok(Step::Wait(current, look)),
            Plan::Busy => Err(AcquireError::Busy { name: self.name.clone(), holders: Held::all(&current) }),
            Plan::QueueFull(full) => Err(self.queue_full(&current, full)),
            Plan::Obsolete { by } => Err(AcquireError::Obsolete { name: self.name.clone(), by }),
            Plan::Superseded => Err(AcquireError::Superseded { name: self.name.clone() }),
            Plan::Newer => Err(AcquireError::Newer { name: self.name.clone(), format: current.format }),
        }
    }

    /// Takes in a document: also one that shows a write of ours whose reply never came.
    fn observe(&mut self, state: &LockState, now: Moment) {
        self.watch.observe(state, now);
        self.was_queued |= state.waiter(self.request.token).is_some();
    }

    async fn write(
        &mut self,
        current: LockState,
        next: LockState,
        outcome: Outcome,
        removed: Vec<Removal>,
    ) -> Result<Step, AcquireError> {
        if outcome == Outcome::Queued {
            self.may_wait(&current).await?;
            // Before the write: who releases after it rings, and is heard.
            self.listen();
        }
        let standing = |h: &Holder| h.between && h.owner == self.request.owner;
        self.picks_up |= outcome == Outcome::Granted && current.holders.iter().any(standing);
        let sent = self.client.clock.now();
        let state = match self.swap(Expected::This(&current), &next).await? {
            Swap::Conflict(other) => return self.outrun(&current, &next, other).await,
            Swap::Swapped(state) => state,
        };
        self.graves.close(&state);
        for removal in &removed {
            info!(lock = %self.name, owner = %removal.holder.owner, why = ?removal.why, "a hold was ended");
            self.client.record_removal(self.name, &current, &removal.holder, removal.why.into());
            (self.news)(Progress::removed(self.name, removal));
        }
        self.client.ring(self.name, rings::of_swap(&current, &state, &self.request));
        match outcome {
            Outcome::Granted => Ok(self.granted(state, sent)),
            Outcome::Queued => {
                let now = self.client.clock.now();
                self.observe(&state, now);
                let place = state.place(self.request.token).unwrap_or(1);
                let look = self.watch.next_look(place, now);
                Ok(Step::Wait(state, look))
            }
            Outcome::Busy => Err(AcquireError::Busy { name: self.name.clone(), holders: Held::all(&state) }),
            Outcome::QueueFull(full) => Err(self.queue_full(&state, full)),
            Outcome::Obsolete { by } => Err(AcquireError::Obsolete { name: self.name.clone(), by }),
        }
    }

    /// Another write was quicker. In a crush others go first, and what they have written is looked at then.
    async fn outrun(
        &mut self,
        before: &LockState,
        next: &LockState,
        current: Option<LockState>,
    ) -> Result<Step, AcquireError> {
        let Some(pause) = self.crush.lost(before, next) else { return Ok(Step::See(current)) };
        let clock = &self.client.clock;
        clock.sleep_until(clock.now().plus(pause)).await;
        self.look(Consistency::Strong).await
    }

    /// Before it gets into a queue: whether it may wait at all.
    async fn may_wait(&mut self, state: &LockState) -> Result<(), AcquireError> {
        if self.was_queued {
            return Ok(());
        }
        if let Some(after) = self.held_after().await? {
            let holders = Held::all(state);
            return Err(AcquireError::OutOfOrder { name: self.name.clone(), after, holders });
        }
        let (Some(here), Some(most)) = (&self.client.here, self.options.max_waiting) else { return Ok(()) };
        if self.place.is_none() {
            let place = here.waiting_place(most).map_err(|error| {
                self.store_error(StoreError::Refused(format!(
                    "this host's waiters can't be counted: {error}"
                )))
            })?;
            self.place = place;
        }
        match self.place {
            Some(_) => Ok(()),
            None => Err(AcquireError::Crowded { name: self.name.clone(), most, holders: Held::all(state) }),
        }
    }

    /// The lock that is held on the same behalf and whose name sorts after this one's.
    async fn held_after(&mut self) -> Result<Option<LockName>, AcquireError> {
        if self.options.beside.is_empty() || self.is_in_order {
            return Ok(None);
        }
        let locks = match self.client.find_all(Consistency::Strong).await {
            // The right to scan a table may be left out, and one for names of a prefix can't have it; a large table may
            // be more than it gives at once. Who waits for each other then does so until the first one's time is over.
            Err(error) if !error.is_passing() || matches!(error, StoreError::Throttled(_)) => {
                warn!(
                    lock = %self.name,
                    %error,
                    "it can't be seen which locks the pipeline holds already: should two pipelines wait for each other, \
                     that ends with the wait limit of the first one (docs/fleet.md, the rights of the runners)"
                );
                self.is_in_order = true;
                return Ok(None);
            }
            locks => self.answered(locks)?,
        };
        let is_own = |h: &Holder| self.options.beside.contains(&h.owner);
        let after =
            locks.into_iter().find(|(name, state)| name > self.name && state.holders.iter().any(is_own));
        self.is_in_order = after.is_none();
        Ok(after.map(|(name, _)| name))
    }

    async fn swap(&mut self, expected: Expected<'_>, next: &LockState) -> Result<Swap, AcquireError> {
        let sent = self.client.unsettled.send(self.name, self.request.token);
        let swap = self.client.store.swap(self.name, expected, next).await;
        sent.answered(&swap);
        self.answered(swap)
    }

    fn granted(&mut self, state: LockState, sent: Moment) -> Step {
        if let Some(bell) = self.bell.take() {
            // The kernel takes its time to close it; the holder does not wait for that.
            tokio::task::spawn_blocking(move || drop(bell));
        }
        debug!(lock = %self.name, waited = ?self.waited(), "granted");
        let (request, picked_up, waited) = (self.request.clone(), self.picks_up, self.waited());
        Step::Granted(Box::new(Grant { state, request, picked_up, sent, waited }))
    }

    /// An earlier write of ours took effect though its reply never came. When it did is not known, so the
    /// lease is counted from a renewal.
    async fn found_held(&mut self, state: LockState) -> Result<Step, AcquireError> {
        let sent = self.client.clock.now();
        let Some(Term::Live { beat, .. }) = state.holder(self.request.token).map(|h| h.term) else {
            return Ok(self.granted(state, sent));
        };
        let renewal = self.client.store.renew(self.name, self.request.token, beat.next()).await;
        match self.answered(renewal)? {
            Renewal::Renewed(state) => Ok(self.granted(state, sent)),
            Renewal::Gone(current) => Ok(Step::See(current)),
        }
    }

    /// Notes what a reply says about the store.
    fn answered<T>(&mut self, result: Result<T, StoreError>) -> Result<T, AcquireError> {
        self.pace.answered(&result);
        if result.is_ok() && self.trouble.take().is_some() {
            (self.news)(Progress::Recovered { name: self.name.to_string() });
        }
        result.map_err(|error| self.store_error(error))
    }

    /// After a failed request: pauses and lets the request go on, or gives up.
    async fn endure(&mut self, error: StoreError) -> Result<(), AcquireError> {
        let now = self.client.clock.now();
        let left = self.limit.saturating_sub(self.waited());
        let patience = match &error {
            StoreError::Document { .. } => Duration::ZERO,
            error if !error.is_passing() && !self.was_queued => Duration::ZERO,
            error if !error.is_passing() => REFUSED_FOR.min(self.limit),
            _ if self.was_queued => self.limit,
            _ => FIRST_CONTACT.min(self.limit),
        };
        let since = self.trouble.as_ref().map_or(now, |t| t.since);
        if patience.is_zero() || left.is_zero() || now.since(since) >= patience {
            return Err(self.store_error(error));
        }
        let pause = self.trouble.as_ref().map_or(RETRY.0, |t| (t.pause * 2).min(RETRY.1));
        if self.trouble.is_none() {
            (self.news)(Progress::Trouble { name: self.name.to_string(), message: error.to_string() });
        }
        self.trouble = Some(Trouble { since, pause });
        self.client.clock.sleep_until(now.plus(jittered(pause).min(left))).await;
        Ok(())
    }

    /// Waits for the next look (a bell can bring it forward), then looks.
    async fn wait(&mut self, state: LockState, look: Duration) -> Result<Step, AcquireError> {
        self.listen();
        self.say(&state);
        if self.waited() >= self.limit {
            return self.give_up(&state).await;
        }
        self.graves.leave_places(&state);
        let place = state.place(self.request.token).unwrap_or(1);
        let rung = self.pause(&state, place, look).await;
        if self.waited() >= self.limit {
            return self.give_up(&state).await;
        }
        if let Pause::Dead = rung {
            return Ok(Step::See(Some(state)));
        }
        self.look(if let Pause::Rung = rung { Consistency::Strong } else { Consistency::Eventual }).await
    }

    fn listen(&mut self) {
        if self.bell.is_none() {
            self.bell = self.client.here.as_ref().map(|here| here.listen(self.name));
        }
    }

    async fn look(&mut self, consistency: Consistency) -> Result<Step, AcquireError> {
        // Counted before the read: a ring in between calls for another look.
        self.rings = self.bell.as_mut().map_or(0, BellWatch::count);
        let read = self.client.store.read(self.name, consistency).await;
        Ok(Step::See(self.answered(read)?))
    }

    /// Sleeps until something calls for a look.
    async fn pause(&mut self, state: &LockState, place: usize, look: Duration) -> Pause {
        let clock = self.client.clock.clone();
        let now = clock.now();
        let until =
            now.plus(jittered(self.pace.slowed(look)).max(SHORTEST_PAUSE)).min(self.started.plus(self.limit));
        loop {
            let rings = self.bell.as_mut().map_or(0, BellWatch::count);
            if rings.saturating_sub(self.rings) >= rings::until_turn(state, place) {
                return Pause::Rung;
            }
            let now = clock.now();
            if now >= until {
                return Pause::Over;
            }
            // The log hears that the wait goes on; the store is not asked for that.
            self.say(state);
            let next = self.said.as_ref().map_or(until, |(_, at)| until.min(at.plus(NEWS_EVERY)));
            let watches = place == 1 && self.client.here.is_some();
            let next = if watches { next.min(now.plus(PRESENCE_EVERY)) } else { next };
            tokio::select! {
                biased;
                () = ring(self.bell.as_mut()) => {}
                () = clock.sleep_until(next) => {}
            }
            if watches && !self.graves.look(state, self.request.token, clock.now()).await.is_empty() {
                return Pause::Dead;
            }
        }
    }

    /// Says where the request stands, if that has changed or was not said for a while.
    fn say(&mut self, state: &LockState) {
        let now = self.client.clock.now();
        let waiting = Waiting::of(self.name, state, self.request.token, self.waited());
        let is_new = self
            .said
            .as_ref()
            .is_none_or(|(last, at)| waiting.differs_from(last) || now.since(*at) >= NEWS_EVERY);
        if is_new {
            self.said = Some((waiting.clone(), now));
            (self.news)(Progress::Waiting(waiting));
        }
    }

    /// The wait limit is reached: leaves the queue, and gives back what may have been granted at the last moment.
    async fn give_up(&self, state: &LockState) -> Result<Step, AcquireError> {
        self.client.withdraw(self.name, self.request.token).await.map_err(|e| self.store_error(e.error))?;
        Err(AcquireError::TimedOut {
            name: self.name.clone(),
            waited: self.waited(),
            holders: Held::all(state),
        })
    }
}

/// Why a pause ended.
enum Pause {
    /// Its time is over.
    Over,
    /// A release was heard.
    Rung,
    /// A holder of this host was found dead.
    Dead,
}

async fn ring(bell: Option<&mut BellWatch>) {
    match bell {
        Some(bell) => bell.changed().await,
        None => std::future::pending().await,
    }
}

/// Between 85 and 115 % of `duration`, so that waiters don't fall in step.
fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.85 + 0.3 * fastrand::f64())
}
