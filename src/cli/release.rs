//! `release`: gives back what `acquire` took, in this job or in another of the same pipeline, and ends what
//! `reserve` began. Nobody else's, unless a reservation is named so, and no error when there is nothing (a job
//! that runs `when: always`).

use super::{
    Exit,
    args::ReleaseArgs,
    here_job::HereJob,
    main::runtime,
    static_note::{self, Note},
    wanted::lock_names,
};
use crate::{
    client::Client,
    config::Config,
    lock::{Holder, LockName, Owner, Term, Token, Waiter},
    report::{self, clean, holder_name},
    store::StoreError,
};

/// Releases.
pub fn run(args: &ReleaseArgs, config: &Config) -> anyhow::Result<Exit> {
    let job = HereJob::find();
    let names = lock_names(&args.name, job.as_ref(), config)?;
    let pipeline = job.as_ref().map(HereJob::pipeline).transpose()?.flatten();
    let found = names.into_iter().map(|name| (Mine::find(args, pipeline.as_ref(), config, &name), name));
    let (nothing, mine): (Vec<_>, Vec<_>) = found.partition(|(mine, _)| mine.is_nothing());
    for (_, name) in nothing {
        report::warn(&format!(
            "pipeline-lock: nothing to release: no `acquire` of this user took lock {name} on this host"
        ));
    }
    if mine.is_empty() {
        return Ok(Exit::Done);
    }
    runtime()?.block_on(async {
        let client = args.store.client(config).await?;
        let mut failed = Vec::new();
        for (mine, name) in &mine {
            let ended = async {
                mine.release(&client, name, job.as_ref().map(HereJob::id), config).await?;
                mine.end_reservations(&client, name, config).await
            };
            // What becomes of one lock does not hold up the next one.
            failed.extend(ended.await.err().map(|error| match error.downcast_ref::<StoreError>() {
                Some(store) => store.about(name),
                None => format!("lock {name}: {}", report::with_causes(&error)),
            }));
        }
        client.recorded().await;
        anyhow::ensure!(failed.is_empty(), "{}", failed.join("\n"));
        Ok(Exit::Done)
    })
}

/// What this caller has of a lock, as far as is known here.
struct Mine {
    owners: Vec<Owner>,
    reservations: Vec<Token>,
    /// A reservation is to end, whoever made it.
    anybodys: bool,
}

impl Mine {
    fn find(args: &ReleaseArgs, pipeline: Option<&Owner>, config: &Config, name: &LockName) -> Self {
        let mut mine = Self { owners: Vec::new(), reservations: Vec::new(), anybodys: args.reservation };
        if args.reservation {
            return mine;
        }
        if let Some(pipeline) = pipeline {
            mine.owners.push(pipeline.clone());
            return mine;
        }
        let noted = |note| static_note::read(&config.state, note, name).into_iter();
        mine.owners = noted(Note::Acquired).map(Owner::stored).collect();
        mine.reservations = noted(Note::Reserved).filter_map(|token| token.parse().ok()).collect();
        mine
    }

    const fn is_nothing(&self) -> bool {
        self.owners.is_empty() && self.reservations.is_empty() && !self.anybodys
    }

    async fn release(
        &self,
        client: &Client,
        name: &LockName,
        job: Option<u64>,
        config: &Config,
    ) -> anyhow::Result<()> {
        if self.owners.is_empty() {
            return Ok(());
        }
        let mut removed = Vec::new();
        let mut goes_on = false;
        for owner in &self.owners {
            let (ended, works) = release(client, name, owner, job).await?;
            goes_on |= works;
            if !ended.is_empty() {
                static_note::remove(&config.state, Note::Acquired, name, owner.as_str());
            }
            removed.extend(ended);
        }
        // A note of a hold that has ended is no news where there is more to do.
        if removed.is_empty() && !self.reservations.is_empty() {
            return Ok(());
        }
        report::warn(&format!("pipeline-lock: {}", told(name, &self.owners, &removed, goes_on)));
        Ok(())
    }

    async fn end_reservations(
        &self,
        client: &Client,
        name: &LockName,
        config: &Config,
    ) -> anyhow::Result<()> {
        let mut ended = None;
        for token in &self.reservations {
            if let Some(held) = client.end_reservation(name, Some(*token)).await? {
                static_note::remove(&config.state, Note::Reserved, name, &token.to_string());
                ended = Some(held);
            }
        }
        if self.anybodys {
            ended = client.end_reservation(name, None).await?;
        }
        match (ended, self.anybodys) {
            (Some(held), _) => report::warn(&format!(
                "pipeline-lock: the reservation of lock {name} by {} is ended: {}",
                holder_name(&held),
                clean(held.reserved.as_deref().unwrap_or_default())
            )),
            (None, true) => {
                report::warn(&format!("pipeline-lock: nothing to release: lock {name} has no reservation"));
            }
            (None, false) if !self.reservations.is_empty() => {
                report::warn(&format!("pipeline-lock: this user's reservation of lock {name} is over"));
            }
            (None, false) => {}
        }
        Ok(())
    }
}

/// Why a lock isn't free yet whose pipeline has running jobs.
const GOES_ON: &str = "running jobs of its pipeline hold it until they end and their `linger` is over \
                       (PIPELINE_LOCK_RELEASE: after ends it with its job)";

/// What became of a lock. `goes_on`: running jobs of the same pipeline hold it.
fn told(name: &LockName, owners: &[Owner], removed: &[Holder], goes_on: bool) -> String {
    let stood = removed.iter().filter(|h| h.between).count();
    let acquired = match removed.len() - stood {
        0 if goes_on => Some(format!("lock {name}: nothing of an `acquire` to release; {GOES_ON}")),
        _ if goes_on => Some(format!("lock {name}: what `acquire` took is released; {GOES_ON}")),
        0 => None,
        1 => Some(format!("lock {name} is released")),
        n => Some(format!("lock {name} is released ({n} holds)")),
    };
    match (acquired, stood, owners.last()) {
        (Some(acquired), 0, _) => acquired,
        (Some(acquired), _, _) => format!("{acquired}; what its pipeline had left standing has ended too"),
        (None, 0, Some(last)) => format!("nothing to release: {last} does not hold lock {name}"),
        (None, _, _) => format!("lock {name}: what its pipeline had left standing between its jobs is ended"),
    }
}

/// A job that took a hold itself gives back its own, and leaves those of the pipeline's other jobs; one that
/// took none gives back all that the pipeline's `acquire` jobs took, or what it left standing: one that has holds has
/// nothing that stands. The result are the holds that ended, and whether running jobs of the same owner hold on.
async fn release(
    client: &Client,
    name: &LockName,
    owner: &Owner,
    job: Option<u64>,
) -> anyhow::Result<(Vec<Holder>, bool)> {
    let state = client.look(name).await?;
    let is_static = |h: &Holder| matches!(h.term, Term::Static { .. });
    let own = |h: &Holder| !h.between && job.is_some_and(|id| h.who.job_id == id);
    let owned: Vec<Holder> =
        state.into_iter().flat_map(|s| s.holders).filter(|h| h.owner == *owner).collect();
    let has_own = owned.iter().any(|h| is_static(h) && own(h));
    let works = owned.iter().any(|h| !is_static(h));
    let holds = move |h: &Holder| is_static(h) && (own(h) || !has_own);
    let waits = |w: &Waiter| job.is_some_and(|id| w.who.job_id == id);
    Ok((client.release_owned(name, owner, holds, waits).await?, works))
}
