//! `release`: gives back what `acquire` took, in this job or in another of the same pipeline. Never anybody
//! else's, and no error when there is nothing (a job that runs `when: always`).

use super::{
    Exit,
    args::ReleaseArgs,
    here_job::{HereJob, lock_name},
    main::runtime,
    static_note,
};
use crate::report;
use crate::{
    client::Client,
    config::Config,
    keeper::open_client,
    lock::{Holder, LockName, Owner, Term},
};

/// Releases.
pub fn run(args: &ReleaseArgs, config: &Config) -> anyhow::Result<Exit> {
    let job = HereJob::find();
    let name = lock_name(args.name.as_deref(), job.as_ref(), config)?;
    let store = args.store.store(config)?;
    let pipeline = job.as_ref().and_then(HereJob::pipeline);
    let owners = pipeline.map_or_else(|| static_note::read(&config.state, &name), |pipeline| vec![pipeline]);
    let Some(last) = owners.last() else {
        report::warn(&format!(
            "pipeline-lock: nothing to release: no `acquire` of this user took lock {name} on this host"
        ));
        return Ok(Exit::Done);
    };
    let removed = runtime()?.block_on(async {
        let client = open_client(&store, &config.state).await?;
        let mut removed = 0;
        for owner in &owners {
            let count = release(&client, &name, owner, job.as_ref().map(HereJob::id)).await?;
            if count > 0 {
                static_note::remove(&config.state, &name, owner);
            }
            removed += count;
        }
        anyhow::Ok(removed)
    })?;
    match removed {
        0 => report::warn(&format!("pipeline-lock: nothing to release: {last} does not hold lock {name}")),
        1 => report::warn(&format!("pipeline-lock: lock {name} is released")),
        n => report::warn(&format!("pipeline-lock: lock {name} is released ({n} holds)")),
    }
    Ok(Exit::Done)
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
