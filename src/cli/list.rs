//! `list`: all locks, a line each.

use super::{Exit, args::ListArgs, lock_status::LockStatus, main::runtime};
use crate::{
    config::Config,
    host::clock::wall_ms,
    lock::EpochMs,
    report::{self, ago, clean, named_short, pipeline_of, table},
    store::Consistency,
};

/// Lists.
pub fn run(args: &ListArgs, config: &Config) -> anyhow::Result<Exit> {
    let all = runtime()?.block_on(async {
        let client = args.store.client(config).await?;
        anyhow::Ok(client.find_all(Consistency::Strong).await?)
    })?;
    let now = EpochMs(wall_ms());
    let prefix = args.prefix.as_deref().unwrap_or_default();
    let named = all.iter().filter(|(name, _)| name.as_str().starts_with(prefix));
    let mut locks: Vec<LockStatus> = named.map(|(name, state)| LockStatus::of(name, Some(state))).collect();
    locks.retain(|lock| is_wanted(args, lock, now));
    if args.json {
        report::say(&serde_json::to_string_pretty(&locks)?);
    } else if locks.is_empty() {
        report::say("There is no such lock.");
    } else {
        report::say(&lines(&locks, now).join("\n"));
    }
    Ok(Exit::Done)
}

fn is_wanted(args: &ListArgs, lock: &LockStatus, now: EpochMs) -> bool {
    let is_old = |age| lock.holders.iter().any(|held| now.since(held.since) > age);
    (!args.held || !lock.holders.is_empty())
        && (!args.waiting || !lock.queue.is_empty())
        && args.older_than.is_none_or(is_old)
}

/// A table of these locks.
pub fn lines(locks: &[LockStatus], now: EpochMs) -> Vec<String> {
    let rows: Vec<[String; 6]> = locks.iter().map(|lock| row(lock, now)).collect();
    table(["LOCK", "STATE", "HOLDER", "SINCE", "WAITING", "FENCE"], &rows)
}

fn row(lock: &LockStatus, now: EpochMs) -> [String; 6] {
    let first = lock.holders.first();
    let holder = first.map_or_else(
        || "-".to_owned(),
        |held| if held.between { pipeline_of(held) } else { named_short(&held.who) },
    );
    let more = match lock.holders.len() {
        0 | 1 => String::new(),
        n => format!(" and {} more", n - 1),
    };
    [
        clean(&lock.name).into_owned(),
        lock.word().to_owned(),
        holder + &more,
        first.map_or_else(|| "-".to_owned(), |held| ago(held.since, now)),
        lock.queue.len().to_string(),
        lock.fence.to_string(),
    ]
}
