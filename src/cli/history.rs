//! `history`: how a lock's last holds ended.

use serde::Serialize;

use super::{Exit, args::HistoryArgs, main::runtime};
use crate::{
    client::humane,
    config::Config,
    lock::{Ending, EpochMs, How, LockName, Mode, Who},
    report::{self, clean, clock_time, named_short, table},
};

/// One ending, as programs get it: times in milliseconds.
#[derive(Debug, Serialize)]
struct Past {
    /// When it ended, by the clock of whoever recorded it.
    ended: EpochMs,
    how: How,
    fence: u64,
    since: EpochMs,
    held: u128,
    waited: u128,
    owner: String,
    mode: Mode,
    slot: u32,
    who: Who,
}

impl From<&Ending> for Past {
    fn from(ending: &Ending) -> Self {
        Self {
            ended: ending.since.plus(ending.held),
            how: ending.how,
            fence: ending.fence.0,
            since: ending.since,
            held: ending.held.as_millis(),
            waited: ending.waited.as_millis(),
            owner: ending.owner.to_string(),
            mode: ending.mode,
            slot: ending.slot,
            who: ending.who.clone(),
        }
    }
}

/// Shows it.
pub fn run(args: &HistoryArgs, config: &Config) -> anyhow::Result<Exit> {
    let name = LockName::new(&args.name)?;
    let mut endings = runtime()?.block_on(async {
        let client = args.store.client(config).await?;
        anyhow::Ok(client.history(&name).await?)
    })?;
    endings.truncate(args.number);
    if args.json {
        let past: Vec<Past> = endings.iter().map(Past::from).collect();
        report::say(&serde_json::to_string_pretty(&past)?);
    } else if endings.is_empty() {
        report::say(&format!("No hold of lock {} is known to have ended.", clean(name.as_str())));
    } else {
        let rows: Vec<[String; 6]> = endings.iter().map(row).collect();
        report::say(&table(["ENDED", "WHO", "WAITED", "HELD", "HOW", "FENCE"], &rows).join("\n"));
    }
    Ok(Exit::Done)
}

fn row(ending: &Ending) -> [String; 6] {
    let waited = if ending.waited.is_zero() { "-".into() } else { humane(ending.waited) };
    [
        clock_time(ending.since.plus(ending.held)),
        named_short(&ending.who),
        waited,
        humane(ending.held),
        ending.how.as_str().to_owned(),
        ending.fence.to_string(),
    ]
}
