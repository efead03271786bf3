//! `status`: who holds, who waits.

use super::{
    Exit,
    args::StatusArgs,
    lock_status::{LockStatus, Waits},
    main::runtime,
};
use crate::report;
use crate::{
    client::Held,
    config::Config,
    host::clock::wall_ms,
    lock::{EpochMs, LockName, Mode, Order},
    report::{ago, clean, clock_time, holder_name, named, pipeline_of},
    store::Consistency,
};

/// Shows one lock, or all that are held or awaited.
pub fn run(args: &StatusArgs, config: &Config) -> anyhow::Result<Exit> {
    let name = args.name.as_deref().map(LockName::new).transpose()?;
    let locks = runtime()?.block_on(async {
        let client = args.store.client(config).await?;
        anyhow::Ok(match &name {
            Some(name) => vec![LockStatus::of(name, client.find(name, Consistency::Strong).await?.as_ref())],
            None => {
                let all = client.find_all(Consistency::Strong).await?;
                let used = all.iter().filter(|(_, state)| !state.is_free());
                used.map(|(name, state)| LockStatus::of(name, Some(state))).collect()
            }
        })
    })?;
    let text = match (args.json, name.is_some()) {
        (true, true) => locks.first().map(serde_json::to_string_pretty).transpose()?.unwrap_or_default(),
        (true, false) => serde_json::to_string_pretty(&locks)?,
        (false, _) if locks.is_empty() => "No lock is held or awaited.".into(),
        (false, _) => locks.iter().map(|lock| show(lock).join("\n")).collect::<Vec<_>>().join("\n\n"),
    };
    report::say(&text);
    Ok(Exit::Done)
}

/// A lock with all who hold it and wait for it, a line each.
pub fn show(lock: &LockStatus) -> Vec<String> {
    let now = EpochMs(wall_ms());
    let mut lines = vec![clean(&lock.name).into_owned()];
    if lock.holders.is_empty() {
        lines.push(if lock.queue.is_empty() { "  free" } else { "  free for the first in the queue" }.into());
    }
    lines.extend(lock.holders.iter().map(|held| show_holder(held, now)));
    lines.extend(lock.queue.iter().map(|waits| show_waiter(waits, now)));
    lines
}

fn show_holder(held: &Held, now: EpochMs) -> String {
    let until =
        held.until.map_or_else(|| "until it is released".into(), |at| format!("until {}", clock_time(at)));
    if let Some(reason) = &held.reserved {
        return format!("  reserved {}  {until}: {}", holder_name(held), clean(reason));
    }
    if held.between {
        return format!("  kept     {}  between its jobs, {until}, fence {}", pipeline_of(held), held.fence);
    }
    let mut line =
        format!("  held     {}  since {}, fence {}", named(&held.who), ago(held.since, now), held.fence);
    if held.mode == Mode::Shared {
        line += ", shared";
    }
    if held.slot != 0 {
        line += &format!(", slot {}", held.slot);
    }
    if !held.live {
        line += ", not watched over (acquire)";
    }
    if let Some(by) = &held.revoked {
        line += &format!(", asked to end by {}", clean(by));
    }
    line
}

fn show_waiter(waits: &Waits, now: EpochMs) -> String {
    let mut line =
        format!("  waits {:>2} {}  since {}", waits.place, named(&waits.who), ago(waits.since, now));
    if waits.mode == Mode::Shared {
        line += ", shared";
    }
    if waits.priority != 0 {
        line += &format!(", priority {}", waits.priority);
    }
    if waits.overtaken != 0 {
        line += &format!(" (overtaken by {})", waits.overtaken);
    }
    if waits.order == Order::Newest {
        line += ", newest first";
    }
    line
}
