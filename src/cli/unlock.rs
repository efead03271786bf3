//! `unlock`: ends somebody else's hold, having said whose and asked.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use super::{Exit, args::UnlockArgs, here_job::caller, main::runtime};
use crate::{
    client::{Client, Held, Unlocking, humane},
    config::Config,
    lock::{How, LockName, LockState, Term},
    report::{self, clean, holder_name, named, taken_by},
    store::Consistency,
};

/// How long a job that was asked to end may take beside its lease.
const GRACE: Duration = Duration::from_secs(30);

/// Unlocks.
pub fn run(args: &UnlockArgs, config: &Config) -> anyhow::Result<Exit> {
    let name = LockName::new(&args.name)?;
    runtime()?.block_on(async {
        let client = args.store.client(config).await?;
        let exit = unlock(&client, &name, args).await;
        client.recorded().await;
        exit
    })
}

async fn unlock(client: &Client, name: &LockName, args: &UnlockArgs) -> anyhow::Result<Exit> {
    let found = client.find(name, Consistency::Strong).await?;
    let Some(state) = found.as_ref().filter(|state| !state.holders.is_empty()) else {
        say_what_is_next(name, found.as_ref());
        return Ok(Exit::Done);
    };
    refuse_newer(name, state)?;
    let chosen: Vec<Held> = Held::all(state).into_iter().filter(|held| is_chosen(args, held)).collect();
    if chosen.is_empty() {
        let how = taken_by(&Held::all(state)).unwrap_or_default();
        let wanted = args.holder.as_deref().unwrap_or_default();
        report::warn(&format!("pipeline-lock: lock {name} has no hold {}: it is {how}", clean(wanted)));
        return Ok(Exit::NotGot);
    }
    if let Some(exit) = refused(args, name, &chosen)? {
        return Ok(exit);
    }
    let wait = args.wait.unwrap_or_else(|| usual_wait(state, &chosen));
    let tokens: Vec<_> = chosen.iter().map(|held| held.token).collect();
    let by = format!("{} (unlock)", caller());
    let unlocked = client.unlock(name, &tokens, &by, wait, |news| tell(news, wait)).await?;
    if let Some(state) = &unlocked.state {
        refuse_newer(name, state)?;
    }
    if let Some(held) = unlocked.left.first() {
        report::warn(&format!(
            "pipeline-lock: lock {name}: {} still holds it after {}. It was asked to end, and its keeper answers: \
             its processes take their time. Run the same again to go on waiting",
            holder_name(held),
            humane(wait)
        ));
        return Ok(Exit::NotGot);
    }
    say_what_is_next(name, unlocked.state.as_ref());
    Ok(Exit::Done)
}

fn refuse_newer(name: &LockName, state: &LockState) -> anyhow::Result<()> {
    anyhow::ensure!(
        !state.is_newer(),
        "lock {name}: its document has format {}, written by a newer pipeline-lock; upgrade this one",
        state.format
    );
    Ok(())
}

fn is_chosen(args: &UnlockArgs, held: &Held) -> bool {
    let Some(wanted) = &args.holder else { return true };
    held.token.to_string() == *wanted || (held.who.job_id != 0 && held.who.job_id.to_string() == *wanted)
}

/// Asks, or sees that all that is needed was said. The exit, if the holds stay.
fn refused(args: &UnlockArgs, name: &LockName, chosen: &[Held]) -> anyhow::Result<Option<Exit>> {
    for held in chosen {
        report::say(&format!("lock {name} is {}", taken_by(std::slice::from_ref(held)).unwrap_or_default()));
    }
    let lives = chosen.iter().find(|held| held.live);
    if args.yes {
        let Some(held) = lives.filter(|_| !args.force) else { return Ok(None) };
        report::warn(&format!(
            "pipeline-lock: {} is running, and would be ended: give --force beside --yes to do that",
            holder_name(held)
        ));
        return Ok(Some(Exit::Usage));
    }
    if !io::stdin().is_terminal() {
        let force = if lives.is_some() { " --force" } else { "" };
        report::warn(&format!(
            "pipeline-lock: there is nobody to ask: give --yes{force} to end {} and free lock {name}",
            what(chosen)
        ));
        return Ok(Some(Exit::Usage));
    }
    eprint!("End {} and free lock {name}? [y/N] ", what(chosen));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        return Ok(None);
    }
    report::warn("pipeline-lock: nothing was changed");
    Ok(Some(Exit::NotGot))
}

fn what(chosen: &[Held]) -> String {
    match chosen {
        [held] if held.reserved.is_some() => format!("the reservation of {}", holder_name(held)),
        [held] if held.live => named(&held.who),
        [held] => format!("the hold of {}", holder_name(held)),
        several => format!("these {} holds", several.len()),
    }
}

/// A holder that answers ends well before its lease; one that does not is removed a little after it.
fn usual_wait(state: &LockState, chosen: &[Held]) -> Duration {
    let leases = state.holders.iter().filter(|h| chosen.iter().any(|held| held.token == h.token));
    let longest = leases
        .filter_map(|h| match h.term {
            Term::Live { lease, .. } => lease,
            Term::Static { .. } => None,
        })
        .max()
        .unwrap_or_default();
    longest + longest / 20 + Duration::from_secs(1) + GRACE
}

fn tell(news: &Unlocking, wait: Duration) {
    report::say(&match news {
        Unlocking::Removed { held, how: How::Evicted } => {
            format!("the hold of {} is removed: it is dead or silent", holder_name(held))
        }
        Unlocking::Removed { held, .. } if held.reserved.is_some() => {
            format!("the reservation of {} is ended", holder_name(held))
        }
        Unlocking::Removed { held, .. } => format!("the hold of {} is removed", holder_name(held)),
        Unlocking::Asked(held) => format!(
            "{} is asked to end: its job is stopped, then the lock goes on; waiting for up to {}",
            holder_name(held),
            humane(wait)
        ),
        Unlocking::Gone(held) => format!("{} has given the lock back", holder_name(held)),
    });
}

fn say_what_is_next(name: &LockName, state: Option<&LockState>) {
    let holders = state.map(Held::all).unwrap_or_default();
    let waiting = state.map(LockState::in_order).unwrap_or_default();
    report::say(&match (taken_by(&holders), waiting.first()) {
        (Some(how), _) => format!("lock {name} is {how}"),
        (None, Some(head)) => {
            format!("lock {name} goes on to {} (place 1 of {})", named(&head.who), waiting.len())
        }
        (None, None) => format!("lock {name} is free"),
    });
}
