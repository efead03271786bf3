//! `acquire`: a hold without a process, for a job that locks and another that releases.

use std::{io::Stderr, sync::Mutex, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use uuid::Uuid;

use super::{
    Exit,
    args::AcquireArgs,
    around::{Around, Counts},
    here_job::{HereJob, who_outside},
    main::runtime,
    static_note::{self, Note},
    wanted::wanted,
};
use crate::{
    client::{AcquireOptions, Client, Hold, ReleaseError, Several, Wish, humane},
    config::{Config, WantedLock},
    keeper::LockWish,
    lock::{EpochMs, LockName, Owner, Request, Term, Token},
    report::{self, JobLog, clock_time},
};

/// How long a hold is looked for that a write without an answer may bring after its request was given up: it would
/// be one that nobody knows of.
const LATE: Duration = Duration::from_secs(10);

/// How long giving back may take when the store has just failed.
const GIVE_UP: Duration = Duration::from_secs(5);

type Log = JobLog<Stderr>;

/// Takes the locks.
pub fn run(args: &AcquireArgs, config: &Config) -> anyhow::Result<Exit> {
    let job = HereJob::find();
    let around = Around::find(job.as_ref())?;
    let mut locks = wanted(&args.name, &args.manner, wait(args), job.as_ref(), config)?.locks;
    runtime()?.block_on(async {
        let client = args.store.client(config).await?;
        let mut log = JobLog::new(std::io::stderr(), job.is_some());
        if around.is_under_a_hold() {
            for (name, by) in around.take_out_held(&mut locks, &client, Counts::Running).await {
                log.note(&format!("lock {name} is held already by {by}; acquire has nothing to do"));
            }
        }
        if locks.is_empty() {
            return Ok(Exit::Done);
        }
        let token = Token::new(Uuid::new_v4());
        let owner = around.pipeline().cloned().unwrap_or_else(|| Owner::alone(token));
        let taking = Taking { args, config, client, token, owner, locks };
        let exit = taking.run(&around, job.as_ref(), log).await;
        taking.client.recorded().await;
        exit
    })
}

fn wait(args: &AcquireArgs) -> Option<Duration> {
    args.wait.or_else(|| Some(args.retry_interval.saturating_mul(args.max_retries?)))
}

/// The locks on their way.
struct Taking<'a> {
    args: &'a AcquireArgs,
    config: &'a Config,
    client: Client,
    token: Token,
    owner: Owner,
    locks: Vec<WantedLock>,
}

impl Taking<'_> {
    async fn run(&self, around: &Around, job: Option<&HereJob>, log: Log) -> anyhow::Result<Exit> {
        let wishes = self.locks.iter().map(|lock| self.wish(lock, around, job)).collect();
        let shared = Mutex::new(log);
        let told = |news| shared.lock().expect("nobody panics with it").progress(&news);
        let got = tokio::select! {
            got = self.client.acquire_all(wishes, told) => Ok(got),
            number = end_signal() => Err(number),
        };
        let mut log = shared.into_inner().expect("nobody panics with it");
        match got {
            Err(number) => {
                log.note("told to end while waiting: the queue is left");
                self.give_all_back(&mut log).await?;
                Ok(Exit::Code(128 + number))
            }
            Ok(Several { holds, failure: None }) => {
                self.got(&holds, &mut log).await?;
                Ok(Exit::Done)
            }
            Ok(Several { failure: Some(error), holds }) => {
                log.failure(&error.to_string());
                if error.leaves_it_open() || !holds.is_empty() {
                    let _ = tokio::time::timeout(GIVE_UP, self.withdraw()).await;
                }
                self.take_back_late(&mut log).await;
                Ok(Exit::of(&error))
            }
        }
    }

    fn wish(&self, lock: &WantedLock, around: &Around, job: Option<&HereJob>) -> Wish {
        let now = self.client.store().now();
        let until = (!self.args.disable_ttl).then(|| now.plus(self.args.ttl));
        let request = Request {
            mode: lock.mode,
            limit: lock.limit,
            priority: lock.priority,
            order: lock.order,
            line: lock.line.clone(),
            max_queue: lock.max_queue,
            who: job.map_or_else(|| who_outside("acquire"), HereJob::who),
            since: now,
            force_after: self.args.force_after,
            ..Request::new(self.owner.clone(), self.token, Term::Static { until })
        };
        let options = AcquireOptions { beside: around.owners(), ..AcquireOptions::waiting(lock.wait) };
        Wish { name: lock.name.clone(), request, options }
    }

    /// All are held: notes them for `release`, and says so.
    async fn got(&self, holds: &[Hold], log: &mut Log) -> anyhow::Result<()> {
        let mut until = None;
        for hold in holds {
            let settled = settle(&self.client, hold, self.args).await;
            let noted = settled.and_then(|end| {
                static_note::write(&self.config.state, Note::Acquired, hold.name(), self.owner.as_str())?;
                Ok(end)
            });
            match noted {
                Ok(end) => until = end,
                Err(error) => {
                    self.give_all_back(log).await?;
                    return Err(error);
                }
            }
        }
        for hold in holds {
            let place = self.wish_of(hold).and_then(|wish| wish.place(hold.slot()));
            log.acquired(hold.name().as_str(), hold.fence().0, place.as_deref(), hold.waited());
        }
        let what = if holds.len() == 1 { "the hold ends" } else { "the holds end" };
        log.note(&until.map_or_else(
            || "the hold never ends by itself: release it".to_owned(),
            |at| format!("{what} by itself at {}", clock_time(at)),
        ));
        for line in self.variables(holds) {
            report::say(&line);
        }
        Ok(())
    }

    /// What a script may read. The places are told where there are several.
    fn variables(&self, holds: &[Hold]) -> Vec<String> {
        let list = |name: &str, one: &dyn Fn(&Hold) -> String| {
            format!("PIPELINE_LOCK_{name}={}", holds.iter().map(one).collect::<Vec<_>>().join(","))
        };
        let resource =
            |hold: &Hold| self.wish_of(hold).and_then(|wish| wish.resource(hold.slot()).map(str::to_owned));
        let has_place =
            |hold: &Hold| self.wish_of(hold).is_some_and(|wish| wish.place(hold.slot()).is_some());
        let mut lines = vec![list("FENCE", &|hold| hold.fence().to_string())];
        if holds.iter().any(has_place) {
            lines.push(list("SLOT", &|hold| hold.slot().to_string()));
        }
        if holds.iter().any(|hold| resource(hold).is_some()) {
            lines.push(list("RESOURCE", &|hold| resource(hold).unwrap_or_default()));
        }
        lines
    }

    fn wish_of(&self, hold: &Hold) -> Option<LockWish> {
        let lock = self.locks.iter().find(|lock| lock.name == *hold.name())?;
        Some(LockWish::of(lock, None, false))
    }

    /// Gives back what was got, and what is on its way. A note of it may stay: it names somebody who holds nothing.
    async fn give_all_back(&self, log: &mut Log) -> anyhow::Result<()> {
        let withdrawn = self.withdraw().await;
        self.take_back_late(log).await;
        Ok(withdrawn?)
    }

    async fn withdraw(&self) -> Result<(), ReleaseError> {
        for name in self.names() {
            self.client.withdraw(name, self.token).await?;
        }
        Ok(())
    }

    async fn take_back_late(&self, log: &mut Log) {
        let mut looks = JoinSet::new();
        for name in self.names().filter(|name| self.client.is_unsettled(name, self.token)).cloned() {
            log.note(&format!(
                "lock {name}: a request was not answered and may have taken effect: for {} it is looked for, and taken \
                 back",
                humane(LATE)
            ));
            let (client, token) = (self.client.clone(), self.token);
            looks.spawn(async move { (client.take_back_late(&name, token, LATE).await, name) });
        }
        while let Some(Ok((is_known, name))) = looks.join_next().await {
            if !is_known {
                log.failure(&format!(
                    "lock {name}: the store can't be asked whether it was taken. `pipeline-lock status {name}` tells it \
                     later, and `pipeline-lock unlock {name}` frees it"
                ));
            }
        }
    }

    fn names(&self) -> impl Iterator<Item = &LockName> {
        self.locks.iter().map(|lock| &lock.name)
    }
}

/// How far the clocks may differ before the end of a hold is written anew.
const SKEW: Duration = Duration::from_secs(2);

/// The end of a static hold is judged by the store's clock, which is known only from its reply: if this
/// host's differs, or the lock was waited for, the end is written again.
async fn settle(client: &Client, hold: &Hold, args: &AcquireArgs) -> anyhow::Result<Option<EpochMs>> {
    if args.disable_ttl {
        return Ok(None);
    }
    let right = client.store().now().plus(args.ttl);
    let mut until = right;
    let state = client
        .change(hold.name(), Some(hold.known()), |state| {
            let holder = state.holders.iter_mut().find(|h| h.token == hold.token());
            let Some(Term::Static { until: Some(written) }) = holder.map(|h| &mut h.term) else {
                return false;
            };
            let apart = right.since(*written).max(written.since(right));
            if apart <= SKEW {
                until = *written;
                return false;
            }
            tracing::info!(apart = humane(apart), "the hold's end is written anew");
            *written = right;
            true
        })
        .await?;
    anyhow::ensure!(
        state.is_some_and(|state| state.holder(hold.token()).is_some()),
        "lock {}: somebody ended the hold as soon as it was granted: run acquire again",
        hold.name()
    );
    Ok(Some(until))
}

/// The number of the signal that asks this process to end.
pub(super) async fn end_signal() -> u8 {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => 15,
        _ = int.recv() => 2,
    }
}
