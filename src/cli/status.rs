//! `status`: who holds, who waits.

use serde::Serialize;

use super::{Exit, args::StatusArgs, main::runtime};
use crate::report;
use crate::{
    client::Held,
    config::Config,
    host::clock::wall_ms,
    keeper::open_client,
    lock::{EpochMs, LockName, LockState, Who},
    report::{ago, clean, named},
};

/// One lock, as programs get it.
#[derive(Debug, Serialize)]
struct LockStatus {
    name: String,
    /// The last fencing number that was given out; 0: the lock was never held.
    fence: u64,
    holders: Vec<Held>,
    queue: Vec<Waits>,
}

/// A waiter, as programs get it.
#[derive(Debug, Serialize)]
struct Waits {
    place: usize,
    owner: String,
    token: String,
    since: EpochMs,
    who: Who,
}

impl LockStatus {
    fn of(name: &LockName, state: Option<&LockState>) -> Self {
        let Some(state) = state else {
            return Self { name: name.to_string(), fence: 0, holders: Vec::new(), queue: Vec::new() };
        };
        let waits = state.in_order().into_iter().enumerate().map(|(i, w)| Waits {
            place: i + 1,
            owner: w.owner.to_string(),
            token: w.token.to_string(),
            since: w.since,
            who: w.who.clone(),
        });
        Self {
            name: name.to_string(),
            fence: state.fence.0,
            holders: Held::all(state),
            queue: waits.collect(),
        }
    }
}

/// Shows one lock, or all that are held or awaited.
pub fn run(args: &StatusArgs, config: &Config) -> anyhow::Result<Exit> {
    let store = args.store.store(config)?;
    let name = args.name.as_deref().map(LockName::new).transpose()?;
    let locks = runtime()?.block_on(async {
        let client = open_client(&store, &config.state).await?;
        anyhow::Ok(match &name {
            Some(name) => vec![LockStatus::of(name, client.look(name).await?.as_ref())],
            None => {
                let all = client.store().list().await?;
                let used = all.iter().filter(|(_, state)| !state.is_free());
                used.map(|(name, state)| LockStatus::of(name, Some(state))).collect()
            }
        })
    })?;
    let text = match (args.json, name.is_some()) {
        (true, true) => locks.first().map(serde_json::to_string_pretty).transpose()?.unwrap_or_default(),
        (true, false) => serde_json::to_string_pretty(&locks)?,
        (false, _) if locks.is_empty() => "No lock is held or awaited.".into(),
        (false, _) => locks.iter().map(show).collect::<Vec<_>>().join("\n\n"),
    };
    report::say(&text);
    Ok(Exit::Done)
}

fn show(lock: &LockStatus) -> String {
    let now = EpochMs(wall_ms());
    let mut lines = vec![clean(&lock.name).into_owned()];
    if lock.holders.is_empty() {
        lines.push(if lock.queue.is_empty() { "  free" } else { "  free for the first in the queue" }.into());
    }
    for held in &lock.holders {
        let revoked = held.revoked.as_ref().map(|by| format!(", asked to end by {}", clean(by)));
        let end = if held.live { String::new() } else { ", not watched over (acquire)".into() };
        lines.push(format!(
            "  held     {}  since {}, fence {}{end}{}",
            named(&held.who),
            ago(held.since, now),
            held.fence,
            revoked.unwrap_or_default()
        ));
    }
    for waits in &lock.queue {
        lines.push(format!(
            "  waits {:>2} {}  since {}",
            waits.place,
            named(&waits.who),
            ago(waits.since, now)
        ));
    }
    lines.join("\n")
}
