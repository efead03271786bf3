//! `release`: gives back what `acquire` took, in this job or in another of the same pipeline, and ends what
//! `reserve` began. Nobody else's, unless a reservation is named so, and no error when there is nothing (a job
//! that runs `when: always`).

use super::{
    Exit,
    args::ReleaseArgs,
    here_job::{HereJob, lock_name},
    main::runtime,
    static_note::{self, Note},
};
use crate::{
    client::Client,
    config::Config,
    lock::{Holder, LockName, Owner, Term, Token},
    report::{self, clean, holder_name},
};

/// Releases.
pub fn run(args: &ReleaseArgs, config: &Config) -> anyhow::Result<Exit> {
    let job = HereJob::find();
    let name = lock_name(args.name.as_deref(), job.as_ref(), config)?;
    let mine = Mine::find(args, job.as_ref(), config, &name);
    if mine.is_nothing() {
        report::warn(&format!(
            "pipeline-lock: nothing to release: no `acquire` of this user took lock {name} on this host"
        ));
        return Ok(Exit::Done);
    }
    runtime()?.block_on(async {
        let client = args.store.client(config).await?;
        mine.release(&client, &name, job.as_ref().map(HereJob::id), config).await?;
        mine.end_reservations(&client, &name, config).await?;
        client.recorded().await;
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
    fn find(args: &ReleaseArgs, job: Option<&HereJob>, config: &Config, name: &LockName) -> Self {
        let mut mine = Self { owners: Vec::new(), reservations: Vec::new(), anybodys: args.reservation };
        if args.reservation {
            return mine;
        }
        if let Some(pipeline) = job.and_then(HereJob::pipeline) {
            mine.owners.push(pipeline);
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
        let Some(last) = self.owners.last() else { return Ok(()) };
        let mut removed = 0;
        for owner in &self.owners {
            let count = release(client, name, owner, job).await?;
            if count > 0 {
                static_note::remove(&config.state, Note::Acquired, name, owner.as_str());
            }
            removed += count;
        }
        // A note of a hold that has ended is no news where there is more to do.
        if removed == 0 && !self.reservations.is_empty() {
            return Ok(());
        }
        report::warn(&match removed {
            0 => format!("pipeline-lock: nothing to release: {last} does not hold lock {name}"),
            1 => format!("pipeline-lock: lock {name} is released"),
            n => format!("pipeline-lock: lock {name} is released ({n} holds)"),
        });
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

/// A job that took a hold itself gives back its own, and leaves those of the pipeline's other jobs; one that
/// took none gives back all that the pipeline's `acquire` jobs took.
async fn release(client: &Client, name: &LockName, owner: &Owner, job: Option<u64>) -> anyhow::Result<usize> {
    let state = client.look(name).await?;
    let is_static = |h: &Holder| matches!(h.term, Term::Static { .. });
    let own = |h: &Holder| job.is_some_and(|id| h.who.job_id == id);
    let has_own =
        state.is_some_and(|s| s.holders.iter().any(|h| h.owner == *owner && is_static(h) && own(h)));
    let holds = move |h: &Holder| is_static(h) && (own(h) || !has_own);
    let removed =
        client.release_owned(name, owner, holds, |w| job.is_some_and(|id| w.who.job_id == id)).await?;
    Ok(removed.len())
}
