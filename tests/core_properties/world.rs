//! True time: what happens when, and who really runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use pipeline_lock::lock::{EpochMs, Holder, LockState, Moment, Term, Token};

use crate::{
    REQUEST_TIMEOUT, Real, Verdict,
    audit::{Audit, Change, Claim, get_on},
    client::{Act, Client, End, Now, Phase, Timer},
    order::Order,
    progress::Progress,
    scenario::{Clock, Fate, Fault, Job, Kind, Leg, Retry, START, Scenario, reservation},
    server::{Op, Reply, Server},
};

/// By then all is over, or something is stuck.
const HORIZON: Real = 3_600_000;

#[derive(Debug)]
enum Event {
    Begin,
    Arrives { id: u64, op: Op, fault: Fault },
    Answers { id: u64, reply: Reply, store_time: EpochMs },
    TimesOut { id: u64 },
    Wakes(Timer),
    Crashes { cleanly: bool, retry: Option<Retry> },
    IsRevoked,
    IsReserved { until: Real },
}

/// Work under way: it ends by `until` in any case.
struct Run {
    claim: Claim,
    until: Real,
}

struct Try {
    client: Client,
    job: usize,
    tries: usize,
    host: usize,
    clock: Clock,
    pending: Option<u64>,
    began: Real,
}

struct World<'a> {
    scenario: &'a Scenario,
    now: Real,
    events: BTreeMap<(Real, u64), (usize, Event)>,
    count: u64,
    faults: std::slice::Iter<'a, Fault>,
    server: Server,
    tries: Vec<Try>,
    runs: BTreeMap<Token, Run>,
    /// Who ever had a hold in the document, knowing of it or not.
    held: BTreeSet<Token>,
    /// Who lost its place to a newer pipeline.
    obsolete: BTreeSet<Token>,
    /// The dead that each host knows of.
    gone: Vec<Vec<Token>>,
    known_dead: BTreeSet<Token>,
    audit: Audit,
    order: Order,
    progress: Progress,
    trace: Option<Vec<String>>,
}

/// Runs a scenario to its end. An error says which promise was broken; with `trace`, also what led to it.
pub fn run(scenario: &Scenario, trace: bool) -> Verdict {
    let mut world = World::new(scenario, trace);
    world.go().map_err(|broken| {
        let told = world.trace.take().unwrap_or_default();
        let last = told.len().saturating_sub(120);
        format!("{broken}\n{}", told[last..].join("\n"))
    })
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, trace: bool) -> Self {
        let mut world = Self {
            scenario,
            now: 0,
            events: BTreeMap::new(),
            count: 0,
            faults: scenario.faults.iter(),
            server: Server::default(),
            tries: Vec::new(),
            runs: BTreeMap::new(),
            held: BTreeSet::new(),
            obsolete: BTreeSet::new(),
            gone: vec![Vec::new(); 3],
            known_dead: BTreeSet::new(),
            audit: Audit::default(),
            order: Order::default(),
            progress: Progress::default(),
            trace: trace.then(Vec::new),
        };
        for (number, job) in scenario.jobs.iter().enumerate() {
            world.enter(number, job, 0, job.host, None, job.start);
            match job.fate {
                Fate::Well => {}
                Fate::Leaves(after) => world.at(job.start + after, number, Event::Wakes(Timer::GiveUp)),
                Fate::Crashes { after, cleanly, retry } => {
                    world.at(job.start + after, number, Event::Crashes { cleanly, retry });
                }
            }
        }
        for at in &scenario.revocations {
            world.at(*at, 0, Event::IsRevoked);
        }
        for (at, span) in &scenario.reservations {
            world.at(*at, 0, Event::IsReserved { until: at + span });
        }
        world
    }

    fn enter(
        &mut self,
        number: usize,
        job: &Job,
        tries: usize,
        host: usize,
        replaces: Option<Token>,
        at: Real,
    ) {
        let fixed = match job.kind {
            Kind::Static(ttl) => Some(Duration::from_millis(ttl)),
            _ => None,
        };
        let request = job.request(number, tries, replaces);
        let client = Client::new(
            request,
            job.may_wait,
            Duration::from_millis(job.work),
            fixed,
            job.linger.map(Duration::from_millis),
        );
        let (clock, began) = (job.clock, at);
        self.tries.push(Try { client, job: number, tries, host, clock, pending: None, began });
        self.at(at, self.tries.len() - 1, Event::Begin);
    }

    fn at(&mut self, time: Real, who: usize, event: Event) {
        self.count += 1;
        self.events.insert((time.max(self.now), self.count), (who, event));
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>7} {}", self.now, what()));
        }
    }

    fn go(&mut self) -> Verdict {
        while let Some(((time, _), (who, event))) = self.events.pop_first() {
            self.now = time;
            if time > HORIZON {
                return Err(format!(
                    "stuck: {:?}",
                    self.tries.iter().map(|t| t.client.phase).collect::<Vec<_>>()
                ));
            }
            self.happens(who, event)?;
            self.check_progress()?;
            self.check_places()?;
        }
        self.check_ends()
    }

    fn happens(&mut self, who: usize, event: Event) -> Verdict {
        match event {
            Event::Arrives { id, op, fault } => return self.arrives(who, id, &op, fault),
            Event::Crashes { cleanly, retry } => self.crashes(who, cleanly, retry),
            Event::IsRevoked => return self.revoke(),
            Event::IsReserved { until } => return self.reserve(until),
            event => self.client_event(who, event),
        }
        self.act(who)
    }

    /// What a client experiences, with its own clock.
    fn client_event(&mut self, who: usize, event: Event) {
        let it = &mut self.tries[who];
        if it.client.is_over() {
            return;
        }
        let now = Now {
            moment: moment(it.clock, self.now),
            wall: EpochMs((START + self.now).saturating_add_signed(it.clock.wall_offset)),
            gone: &self.gone[it.host],
        };
        let busy = it.pending.is_some();
        match event {
            Event::Begin => it.client.begin(&now),
            Event::Wakes(timer) => it.client.wake(timer, busy, &now),
            Event::Answers { id, reply, store_time } if it.pending == Some(id) => {
                it.pending = None;
                it.client.reply(reply, store_time, &now);
            }
            Event::TimesOut { id } if it.pending == Some(id) => {
                it.pending = None;
                it.client.unanswered(&now);
            }
            _ => {}
        }
    }

    /// Does what the client wants.
    fn act(&mut self, who: usize) -> Verdict {
        for act in std::mem::take(&mut self.tries[who].client.acts) {
            self.tell(|| {
                let shown: String = format!("{act:?}").chars().take(110).collect();
                format!("  {who} {shown}")
            });
            let clock = self.tries[who].clock;
            let token = self.tries[who].client.request.token;
            match act {
                Act::Send(op) => self.send(who, *op),
                Act::Wake(at, timer) => self.at(real_after(clock, at), who, Event::Wakes(timer)),
                Act::RunsUntil(at) => self.runs(who, real_before(clock, at))?,
                Act::RunsUntilStoreTime(at) => self.runs(who, at.0.saturating_sub(START))?,
                Act::Stops => drop(self.runs.remove(&token)),
                Act::Broken(why) => return Err(format!("client {who} at {}: {why}", self.now)),
            }
        }
        Ok(())
    }

    fn send(&mut self, who: usize, op: Op) {
        self.count += 1;
        let id = self.count;
        let fault = self.faults.next().copied().unwrap_or(Fault::NONE);
        self.tries[who].pending = Some(id);
        let patience = moment(self.tries[who].clock, self.now).plus(REQUEST_TIMEOUT);
        self.at(real_after(self.tries[who].clock, patience), who, Event::TimesOut { id });
        match fault.out {
            Leg::Takes(time) => self.at(self.now + time, who, Event::Arrives { id, op, fault }),
            Leg::Lost => self.progress.excuse(self.now),
        }
    }

    fn arrives(&mut self, who: usize, id: u64, op: &Op, fault: Fault) -> Verdict {
        self.tell(|| format!("{who} {}", name_of(op)));
        let reply = self.changing(who, |server| server.serve(op, fault.stale))?;
        let slow = |leg| match leg {
            Leg::Takes(time) => time > 500,
            Leg::Lost => true,
        };
        if slow(fault.out) || slow(fault.back) || fault.stale > 0 || self.tries[who].client.is_over() {
            self.progress.excuse(self.now);
        }
        if let Leg::Takes(time) = fault.back {
            let store_time = EpochMs(START + self.now);
            self.at(self.now + time, who, Event::Answers { id, reply, store_time });
        }
        Ok(())
    }

    /// Lets the store do something for `who`, and audits what has changed.
    fn changing<T>(&mut self, who: usize, doing: impl FnOnce(&mut Server) -> T) -> Result<T, String> {
        let before = self.server.current();
        let result = doing(&mut self.server);
        let after = self.server.current();
        if before != after {
            let before = before.unwrap_or_else(|| LockState::new(EpochMs(0)));
            let request = &self.tries[who].client.request;
            let change = Change {
                before: &before,
                after: &after.ok_or("the document is gone")?,
                request,
                known_dead: &self.known_dead,
                at: self.now,
            };
            self.audit.check(&change).and_then(|()| self.order.check(&change, true))?;
            let obsolete = before.queue.iter().filter(|w| change.makes_obsolete(w)).map(|w| w.token);
            self.obsolete.extend(obsolete);
            for holder in change.granted() {
                self.held.insert(holder.token);
                // Who joins its pipeline's hold is welcome; who never heard of its place comes as a new one.
                let may_come = change.joins(holder) || self.tries[who].client.unanswered;
                if self.obsolete.contains(&holder.token) && !may_come {
                    return Err(format!("{:?} is obsolete and did not learn it", holder.token));
                }
            }
        }
        Ok(result)
    }

    /// The work of `who` runs, now and until then at the latest. Nobody runs beside it who must not.
    fn runs(&mut self, who: usize, until: Real) -> Verdict {
        let state = self.server.current().ok_or("the document is gone")?;
        let request = &self.tries[who].client.request;
        if let Some(run) = self.runs.get_mut(&request.token) {
            run.until = until;
            return Ok(());
        }
        if until <= self.now {
            // A static hold whose reply came after its time.
            return Ok(());
        }
        let claim = Claim {
            owner: request.owner.clone(),
            token: request.token,
            mode: request.mode,
            limit: request.limit.0.max(1),
        };
        let now = self.now;
        self.runs.retain(|_, run| run.until > now);
        self.runs.insert(request.token, Run { claim, until });
        let claims: Vec<Claim> = self.runs.values().map(|run| run.claim.clone()).collect();
        self.tell(|| format!("{who} RUNS, fence {}", state.fence));
        if get_on(&claims) { Ok(()) } else { Err(format!("at {now} these run together: {claims:?}")) }
    }

    fn crashes(&mut self, who: usize, cleanly: bool, retry: Option<Retry>) {
        if self.tries[who].client.is_over() || self.tries[who].began > self.now {
            return;
        }
        self.tell(|| format!("{who} CRASHES {}", if cleanly { "cleanly" } else { "and leaves work" }));
        self.tries[who].client.phase = Phase::Over(End::Crashed);
        if cleanly {
            self.bury(who);
        }
        let Some(retry) = retry else { return };
        let (number, tries, host) = (self.tries[who].job, self.tries[who].tries + 1, self.tries[who].host);
        let mut job = self.scenario.jobs[number].clone();
        if retry.turns_exclusive {
            job.kind = Kind::Exclusive;
        }
        let token = self.tries[who].client.request.token;
        let (host, replaces) = if retry.same_host { (host, Some(token)) } else { ((host + 1) % 3, None) };
        // A retry on the same host begins with the death of the old try's processes.
        if let Some(run) = self.runs.get_mut(&token).filter(|_| retry.same_host) {
            run.until = run.until.min(self.now + retry.delay);
        }
        self.enter(number, &job, tries, host, replaces, self.now + retry.delay);
    }

    /// The processes of `who` are dead, and its host knows.
    fn bury(&mut self, who: usize) {
        let token = self.tries[who].client.request.token;
        self.runs.remove(&token);
        self.gone[self.tries[who].host].push(token);
        self.known_dead.insert(token);
    }

    fn revoke(&mut self) -> Verdict {
        let Some(expected) = self.server.current() else { return Ok(()) };
        let mut new = expected.clone();
        for holder in &expected.holders {
            new.revoke(holder.token, "operator");
        }
        new.seal(EpochMs(START + self.now));
        self.changing(0, |server| drop(server.serve(&Op::SwapThis { expected, new }, 0)))
    }

    fn reserve(&mut self, until: Real) -> Verdict {
        let current = self.server.current();
        let mut new = current.clone().unwrap_or_else(|| LockState::new(EpochMs(START)));
        new.reserve(&reservation(self.now, until), "maintenance");
        new.seal(EpochMs(START + self.now));
        let op = match current {
            Some(expected) => Op::SwapThis { expected, new },
            None => Op::SwapFree { seed: EpochMs(START), new },
        };
        self.changing(0, |server| drop(server.serve(&op, 0)))
    }

    fn check_progress(&mut self) -> Verdict {
        let now = self.now;
        let holds = self.tries.iter().any(|t| t.client.is_holding() && t.began <= now)
            || self.server.current().is_some_and(|state| state.holders.iter().any(|h| self.is_kept(h)))
            || self.runs.values().any(|run| run.until > now && self.is_static(run.claim.token));
        let waits = self.tries.iter().any(|t| t.client.is_waiting());
        self.progress.check(holds, waits, now)
    }

    /// Whether an entry keeps the lock though nobody works under it.
    fn is_kept(&self, holder: &Holder) -> bool {
        let is_over =
            matches!(holder.term, Term::Static { until: Some(until) } if START + self.now > until.0);
        holder.reserved.is_some() || holder.between && !is_over
    }

    fn is_static(&self, token: Token) -> bool {
        let job = usize::try_from((token.uuid().as_u128() - 1) / 100).unwrap_or(0);
        matches!(self.scenario.jobs[job].kind, Kind::Static(_))
    }

    /// Who waits has its place, or has had the lock (and may not know), or was told of a newer try.
    fn check_places(&self) -> Verdict {
        let Some(state) = self.server.current() else { return Ok(()) };
        for waiting in self.tries.iter().filter(|t| t.client.is_waiting()) {
            let token = waiting.client.request.token;
            let is_there =
                state.waiter(token).is_some() || self.held.contains(&token) || self.obsolete.contains(&token);
            let newer = self.tries.iter().any(|t| t.job == waiting.job && t.tries > waiting.tries);
            if !is_there && !newer {
                return Err(format!("{token:?} waits and has no place at {}", self.now));
            }
        }
        Ok(())
    }

    /// Everybody got what it could get.
    fn check_ends(&self) -> Verdict {
        for it in &self.tries {
            let fair = match it.client.phase {
                Phase::Over(End::Superseded) => {
                    self.tries.iter().any(|t| t.job == it.job && t.tries > it.tries)
                }
                Phase::Over(End::Obsolete) => {
                    let line = self.scenario.jobs[it.job].line;
                    let is_newer =
                        |other: (u64, u64)| line.is_some_and(|(key, n)| other.0 == key && other.1 > n);
                    self.scenario.jobs.iter().filter_map(|job| job.line).any(is_newer)
                }
                Phase::Over(End::QueueFull) => it.client.request.max_queue.is_some(),
                Phase::Over(End::Busy) => !self.scenario.jobs[it.job].may_wait,
                Phase::Over(_) => true,
                _ => false,
            };
            if !fair {
                return Err(format!("job {} ended as {:?}", it.job, it.client.phase));
            }
        }
        Ok(())
    }
}

fn name_of(op: &Op) -> String {
    match op {
        Op::Read { strong } => format!("reads, strong: {strong}"),
        Op::SwapFree { .. } => "swaps a free one".into(),
        Op::SwapThis { expected, new } => format!(
            "swaps {} for holders {:?} queue {:?}",
            expected.rev,
            new.holders.iter().map(|h| h.token.uuid().as_u128()).collect::<Vec<_>>(),
            new.queue.iter().map(|w| (w.token.uuid().as_u128(), w.missed)).collect::<Vec<_>>(),
        ),
        Op::Renew { token, beat } => format!("renews {} to {beat}", token.uuid().as_u128()),
    }
}

/// The client's own clock at a true time; both in whole milliseconds, the clock in microseconds.
fn moment(clock: Clock, real: Real) -> Moment {
    Moment(Duration::from_micros(1_000_000 + real * clock.rate_permille))
}

fn micros(at: Moment) -> u64 {
    u64::try_from(at.0.as_micros()).unwrap_or(u64::MAX).saturating_sub(1_000_000)
}

/// The first true time at which the client's clock shows `at`.
fn real_after(clock: Clock, at: Moment) -> Real {
    micros(at).div_ceil(clock.rate_permille)
}

/// The last true time before that.
fn real_before(clock: Clock, at: Moment) -> Real {
    micros(at) / clock.rate_permille
}
